"""The whole step lowers to XLA, with static shapes and without the host."""

import re
from concurrent import futures

import forked
import keras
import pairs
import pytest
import tensorflow as tf

from sngan_tf.gan import GAN
from sngan_tf.gan import methods

BATCH, CLASSES, LATENTS = 2, 2, 4
HOST_OPERATIONS = re.compile(
    r"\b(infeed|outfeed|send|recv|custom-call)\(|host_callback"
)


def shape_of(network):
    return (8, 8, 1) if network in ("small", "cnn") else (32, 32, 1)


def lowered(network, method):
    """Returns the HLO of a step, as text."""
    method, shape = methods.get(method), shape_of(network)
    num_classes = CLASSES if pairs.is_conditional(network) else None
    gan = GAN(
        *pairs.build(
            network,
            shape,
            latent_dim=LATENTS,
            width=1 / 64,
            method=method,
            num_classes=num_classes,
        ),
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
# A step is as static as the layers and penalties in it.
@pytest.mark.parametrize(
    ("network", "method"),
    [*pairs.METHODS, *((network, "spectral_norm") for network in pairs.KINDS)],
)
def test_step_lowers(network, method, elsewhere):
    assert_static_and_on_the_device(elsewhere(lowered, network, method))


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
    gan = GAN(
        *pairs.build("small", shape_of("small"), LATENTS, 1.0),
        augmentation=augmentation,
    )
    gan.compile(
        generator_optimizer=keras.optimizers.SGD(0.1),
        discriminator_optimizer=keras.optimizers.SGD(0.1),
    )
    with pytest.raises(ValueError, match=message):
        hlo_of(gan)
