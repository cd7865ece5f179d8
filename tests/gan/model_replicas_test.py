"""Replicas together against one device with the batch of all."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from sngan_tf import data
from sngan_tf import networks
from sngan_tf.gan import GAN
from sngan_tf.gan import augmentation
from sngan_tf.gan import methods
from sngan_tf.layers import ConditionalBatchNormalization
from sngan_tf.runs import distribution

BATCH, LATENTS, CLASSES, UPDATES = 8, 4, 3, 10


def build_small(method="spectral_norm", conditional=False):
    """Networks in which rounding errors stay small over many updates.

    The paper's under batch norm make much of them: at first their pictures
    hardly vary, and it divides by how much they do. Without labels there is no
    batch norm in the generator, with labels it is conditional.
    """
    method = methods.get(method)
    labels = keras.Input((), dtype="int32")
    latents = keras.Input((LATENTS,))
    x = layers.Reshape((4, 4, 4))(layers.Dense(64)(latents))
    if conditional:
        x = ConditionalBatchNormalization(CLASSES)(x, labels)
    x = layers.Conv2DTranspose(1, 4, 2, "same", activation="tanh")(x)
    y = images = keras.Input((8, 8, 1))
    for i in range(2):
        convolution = layers.Conv2D(4, 4, 2, "same", name=f"conv_{i}")
        y = method.normalize(method.wrap(convolution)(y), f"norm_{i}")
        y = layers.LeakyReLU(0.1)(y)
    y = layers.Flatten()(y)
    outputs = method.wrap(layers.Dense(1, name="dense"))(y)
    if not conditional:
        return keras.Model(latents, x), keras.Model(images, outputs)
    embedded = layers.Embedding(CLASSES, y.shape[-1])(labels)
    outputs = outputs + layers.Dot(1)([embedded, y])
    return (
        keras.Model([latents, labels], x),
        keras.Model([images, labels], outputs),
    )


class KeepVectors(keras.callbacks.Callback):
    """Keeps every replica's `u` of all layers after each update."""

    def __init__(self, strategy):
        super().__init__()
        self.strategy = strategy
        self.updates = []

    def on_train_batch_end(self, batch, logs=None):
        self.updates.append(
            [
                [np.array(u) for u in self.of_replicas(variable)]
                for variable in self.model.discriminator.variables
                if variable.name == "u"
            ]
        )

    def of_replicas(self, variable):
        return self.strategy.experimental_local_results(variable.value)


def train(strategy, build, synchronized):
    """Returns a GAN after updates on pictures that do not depend on it."""
    with strategy.scope():
        keras.utils.set_random_seed(0)
        generator, discriminator = build()
        if synchronized:
            networks.synchronize_batch_norm(generator)
            networks.synchronize_batch_norm(discriminator)
        conditional = len(generator.inputs) == 2
        gan = GAN(
            generator,
            discriminator,
            discriminator_steps=2,
            num_classes=CLASSES if conditional else None,
            augmentation=augmentation.RandomShift(1),
        )
        gan.compile(
            generator_optimizer=keras.optimizers.SGD(0.1),
            discriminator_optimizer=keras.optimizers.SGD(0.1),
        )
    random = np.random.default_rng(0)
    shape = (50, *discriminator.inputs[0].shape[1:])
    pictures = data.Pictures(
        random.integers(0, 256, shape).astype("uint8"),
        random.integers(0, CLASSES, 50).astype("int32"),
        ("a", "b", "c"),
        "random",
    )

    def batches(replicas, num_replicas):
        return data.training_batches(
            pictures,
            BATCH,
            seed=3,
            with_labels=conditional,
            discriminator_steps=2,
            replicas=replicas,
            num_replicas=num_replicas,
        )

    keep = KeepVectors(strategy)
    gan.fit(
        distribution.distribute(strategy, batches),
        steps_per_epoch=UPDATES,
        shuffle=False,
        verbose=0,
        callbacks=[keep],
    )
    assert len(keep.updates) == UPDATES
    return gan, keep.updates


def assert_close(one, two):
    for a, b in zip(one.variables, two.variables, strict=True):
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(a),
            keras.ops.convert_to_numpy(b),
            atol=1e-5,
            err_msg=a.path,
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "synchronized"),
    [
        (
            functools.partial(build_small, "batch_norm", conditional=True),
            True,
        ),
        # Without batch norm there is nothing to synchronize.
        (build_small, False),
    ],
    ids=["conditional_batch_norm", "without_batch_norm"],
)
def test_two_replicas_match_one_at_twice_the_batch(
    two_replicas, build, synchronized
):
    one, _ = train(tf.distribute.get_strategy(), build, synchronized)
    two, vectors = train(two_replicas, build, synchronized)
    assert_close(one.discriminator, two.discriminator)
    assert_close(one.generator, two.generator)
    for update in vectors:
        for first, second in update:
            np.testing.assert_array_equal(first, second)


@pytest.mark.slow
def test_replicas_draw_what_one_draws(two_replicas):
    with two_replicas.scope():
        gan = GAN(*build_small())
    whole, _ = gan._fakes(6, draw=1)
    drawn = two_replicas.run(lambda: gan._fakes(3, draw=1)[0])
    first, second = two_replicas.experimental_local_results(drawn)
    np.testing.assert_allclose(
        np.concatenate([first, second]), whole, rtol=1e-5, atol=1e-6
    )
    assert not np.isclose(first, second).any()
