"""Networks that are traced in a moment, with layers of every kind.

A module of its own, as processes that tests start import it too.
"""

import keras
from keras import layers

from sngan_tf.gan import methods
from sngan_tf.layers import ConditionalBatchNormalization


def build(
    name,
    image_shape,
    latent_dim,
    width,
    method="spectral_norm",
    num_classes=None,
    discriminator_width=1.0,
    last_width=1.0,
):
    """Returns `(generator, discriminator)`, as `networks.build` does.

    With `num_classes` they are conditional, by projection or, for
    `acgan_resnet`, an auxiliary classifier.
    """
    method = methods.get(method)
    height, width, channels = image_shape
    inputs = latents = keras.Input((latent_dim,))
    labels = keras.Input((), dtype="int32")
    x = layers.Dense(height * width)(latents)
    x = layers.Reshape((height // 2, width // 2, 4))(x)
    if num_classes:
        inputs = [latents, labels]
        x = ConditionalBatchNormalization(num_classes, name="bn")(x, labels)
    else:
        x = layers.BatchNormalization(name="bn")(x)
    x = layers.Conv2DTranspose(
        channels, 4, 2, "same", activation="tanh", name="images"
    )(x)
    generator = keras.Model(inputs, x)

    inputs = images = keras.Input(image_shape)
    y = method.wrap(layers.Conv2D(4, 4, 2, "same", name="conv_1"))(images)
    y = layers.LeakyReLU(0.1)(method.normalize(y, "norm_1"))
    y = layers.Flatten()(y)
    logits = method.wrap(layers.Dense(1, name="dense"))(y)
    if name == "acgan_resnet":
        logits = [logits, method.wrap(layers.Dense(num_classes))(y)]
    elif num_classes:
        inputs = [images, labels]
        rows = method.wrap(layers.Embedding(num_classes, y.shape[-1]))(labels)
        logits = layers.Add()([logits, layers.Dot(1)([rows, y])])
    return generator, keras.Model(inputs, logits)


# What a classifier scores by, as records name it.
SCORES = (
    "classifier_score",
    "frechet_classifier_distance",
    "kernel_classifier_distance",
    "classifier_precision",
    "classifier_recall",
)


class Scorer:
    """Scores by the mean level of what is generated, in three records."""

    def generated(self, sampler, step):
        mean = float(sampler.many(0, 9).mean())
        return [
            {"step": step, "metric": metric, "value": mean}
            for metric in (
                "classifier_score",
                "frechet_classifier_distance",
                "classifier_recall",
            )
        ]
