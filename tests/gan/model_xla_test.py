"""The whole step lowers to XLA, with static shapes and without the host."""

import re
from concurrent import futures

import forked
import keras
import numpy as np
import pairs
import pytest
import tensorflow as tf
from keras import layers

from sngan_tf.gan import GAN
from sngan_tf.gan import methods

BATCH, CLASSES, LATENTS = 2, 2, 4
# Methods that are lowered where they meet a network, and what is part of such.
LOWERED = {
    *(method for _, method in pairs.MEETING),
    *("none", "spectral_norm", "weight_norm", "frobenius_norm", "wgan_gp"),
}
HOST_OPERATIONS = re.compile(
    r"\b(infeed|outfeed|send|recv|custom-call)\(|host_callback"
)


def shape_of(network):
    return (8, 8, 1) if network in ("small", "cnn") else (32, 32, 1)


def small_generator(shape, num_classes):
    """One that costs little to lower, as it is not what differs."""
    inputs = x = keras.Input((LATENTS,))
    if num_classes:
        labels = keras.Input((), dtype="int32")
        inputs = [x, labels]
        x = layers.Concatenate()([x, layers.Embedding(num_classes, 2)(labels)])
    x = layers.Reshape(shape)(layers.Dense(int(np.prod(shape)))(x))
    return keras.Model(inputs, x)


def lowered(network, method, whole=False):
    """Returns the HLO of a step, as text."""
    method, shape = methods.get(method), shape_of(network)
    num_classes = CLASSES if pairs.is_conditional(network) else None
    generator, discriminator = pairs.build(
        network,
        shape,
        latent_dim=LATENTS,
        width=1 / 64,
        method=method,
        num_classes=num_classes,
    )
    gan = GAN(
        generator if whole else small_generator(shape, num_classes),
        discriminator,
        num_classes=num_classes,
        **pairs.arguments(method),
    )
    gan.compile(
        generator_optimizer=keras.optimizers.SGD(0.1),
        discriminator_optimizer=keras.optimizers.SGD(0.1),
    )
    return hlo_of(gan)


def hlo_of(gan):
    data = tf.zeros((BATCH, *gan.generator.output_shape[1:]), tf.uint8)
    if gan.num_classes:
        data = data, tf.constant([0, 1])
    step = tf.function(gan.train_step, jit_compile=True, autograph=False)
    return step.experimental_get_compiler_ir(data)(stage="hlo")


def assert_static_and_on_the_device(hlo):
    assert "ENTRY" in hlo
    # A dynamic dimension is written as its bound.
    assert "<=" not in hlo
    assert not HOST_OPERATIONS.search(hlo)


@pytest.fixture(scope="module")
def elsewhere():
    """Runs functions in other processes, as XLA keeps all it has lowered."""
    with futures.ProcessPoolExecutor(
        1, mp_context=forked.context(), max_tasks_per_child=6
    ) as pool:
        yield lambda *args, **kwargs: pool.submit(*args, **kwargs).result()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "method"),
    [
        *pairs.MEETING,
        *(pair for pair in pairs.METHODS if pair[1] not in LOWERED),
    ],
)
def test_step_of_every_method_lowers(network, method, elsewhere):
    assert_static_and_on_the_device(elsewhere(lowered, network, method))


# What other discriminators have is lowered above.
@pytest.mark.slow
@pytest.mark.parametrize("network", pairs.KINDS)
def test_step_of_every_kind_of_network_lowers(network, elsewhere):
    assert_static_and_on_the_device(
        elsewhere(lowered, network, "spectral_norm", whole=True)
    )


def boolean_mask(images, seed):
    return tf.pad(
        tf.boolean_mask(images, images[:, 0, 0, 0] > 2),
        [[0, BATCH], [0, 0], [0, 0], [0, 0]],
    )[:BATCH]


def numpy_function(images, seed):
    on_host = tf.numpy_function(lambda x: x, [images], images.dtype)
    return images + tf.ensure_shape(on_host, images.shape)


@pytest.mark.parametrize(
    ("augmentation", "message"),
    [
        (boolean_mask, "dynamic dimension"),
        (numpy_function, "EagerPyFunc|PyFunc"),
    ],
)
def test_what_would_fail_is_seen(augmentation, message):
    shape = shape_of("cnn")
    x = keras.Input(shape)
    discriminator = keras.Model(x, layers.Dense(1)(layers.Flatten()(x)))
    gan = GAN(
        small_generator(shape, None), discriminator, augmentation=augmentation
    )
    gan.compile(
        generator_optimizer=keras.optimizers.SGD(0.1),
        discriminator_optimizer=keras.optimizers.SGD(0.1),
    )
    with pytest.raises(ValueError, match=message):
        hlo_of(gan)
