"""Networks that are traced in a moment, with layers of every kind.

A module of its own, as processes that tests start import it too.
"""

import keras
from keras import layers

from sngan_tf.gan import methods


def build(
    name,
    image_shape,
    latent_dim,
    width,
    method="spectral_norm",
    num_classes=None,
    discriminator_width=1.0,
):
    """Returns `(generator, discriminator)`, as `networks.build` does."""
    method = methods.get(method)
    height, width, channels = image_shape
    latents = keras.Input((latent_dim,))
    x = layers.Dense(height * width)(latents)
    x = layers.Reshape((height // 2, width // 2, 4))(x)
    x = layers.BatchNormalization()(x)
    x = layers.Conv2DTranspose(channels, 4, 2, "same", activation="tanh")(x)
    images = keras.Input(image_shape)
    y = method.wrap(layers.Conv2D(4, 4, 2, "same", name="conv_1"))(images)
    y = layers.Flatten()(layers.LeakyReLU(0.1)(y))
    y = method.wrap(layers.Dense(1, name="dense"))(y)
    return keras.Model(latents, x), keras.Model(images, y)


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
