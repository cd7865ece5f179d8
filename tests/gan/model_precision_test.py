"""Training in half precision, with what must stay float32 in it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from sngan_tf import data
from sngan_tf.gan import GAN
from sngan_tf.gan import checks
from sngan_tf.layers import SpectralNormalization
from sngan_tf.layers import kernels
from sngan_tf.runs import build as build_lib
from sngan_tf.runs import distribution

UPDATES, PER_EXECUTION = 200, 50
HALVES = ("mixed_bfloat16", "mixed_float16")


@pytest.fixture
def digits_config(tiny_config, real_networks):
    tiny_config.data.image_size = 16
    tiny_config.data.batch_size = 16
    tiny_config.data.channels = 1
    tiny_config.network.width = 1 / 8
    tiny_config.network.latent_dim = 16
    tiny_config.updates = UPDATES
    tiny_config.steps_per_execution = PER_EXECUTION
    return tiny_config


def build(config, precision):
    config.precision = precision
    return build_lib.gan(config)


def last_losses(config, precision, seed=0):
    """Returns the mean losses over the last 50 of 200 updates."""
    config.seed = seed
    gan = build(config, precision)
    dataset = data.training_batches(
        build_lib.pictures(config), config.data.batch_size, seed
    )
    means = []

    def note(batch, logs):
        means.append([float(logs[name]) for name in ("d_loss", "g_loss")])
        gan.reset_metrics()

    gan.fit(
        dataset,
        steps_per_epoch=UPDATES,
        shuffle=False,
        verbose=0,
        callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=note)],
    )
    assert len(means) == UPDATES // PER_EXECUTION
    assert np.isfinite(means).all()
    for weight in gan.weights:
        assert np.isfinite(weight.numpy()).all(), weight.path
    return np.array(means[-1])


@pytest.mark.slow
@pytest.mark.parametrize("precision", HALVES)
def test_half_precision_ends_near_float32(digits_config, precision):
    """As near as a seed of float32, give or take.

    A discriminator that fell apart or won is at 0, or far above 2.
    """
    # Of d_loss and g_loss of float32, over six seeds.
    mean, deviation = np.array([1.77, 0.33]), np.array([0.22, 0.13])
    difference = np.abs(last_losses(digits_config, precision) - mean)
    assert (difference < 5 * deviation).all()


@pytest.mark.parametrize("precision", HALVES)
def test_what_spectral_normalization_keeps_is_float32(digits_config, precision):
    gan = build(digits_config, precision)
    normalized = [
        layer
        for layer in kernels.sublayers(gan.discriminator)
        if isinstance(layer, SpectralNormalization)
    ]
    assert len(normalized) == 8
    for layer in normalized:
        assert layer.layer.compute_dtype == precision.removeprefix("mixed_")
        assert layer.spectral_norm().dtype == tf.float32
        (u,) = (v for v in layer.variables if v.name == "u")
        assert u.dtype == "float32"
    assert {v.dtype for v in gan.weights if v is not gan.step} == {"float32"}


@pytest.mark.parametrize("precision", HALVES)
def test_losses_are_float32(digits_config, precision):
    gan = build(digits_config, precision)
    images = tf.zeros((2, 16, 16, 1))
    parts = gan._discriminator_step(images, None, draw=0)
    parts |= gan._generator_step(2, draw=1)
    assert parts.keys() == {"d_loss", "d_penalty", "g_loss"}
    assert {part.dtype for part in parts.values()} == {tf.float32}


@pytest.mark.parametrize(
    ("precision", "scaled"),
    [("float32", False), ("mixed_bfloat16", False), ("mixed_float16", True)],
)
def test_float16_alone_scales_its_losses(digits_config, precision, scaled):
    gan = build(digits_config, precision)
    for optimizer in (gan.generator_optimizer, gan.discriminator_optimizer):
        kind = keras.optimizers.LossScaleOptimizer
        assert isinstance(optimizer, kind) == scaled


@pytest.mark.slow
def test_overflow_on_one_replica_is_one_on_all(two_replicas, monkeypatch):
    # Pictures that large are refused.
    monkeypatch.setattr(checks, "_LARGEST", float("inf"))
    with two_replicas.scope():
        latents, images = keras.Input((3,)), keras.Input((2, 2, 1))
        gan = GAN(
            keras.Model(
                latents, layers.Reshape((2, 2, 1))(layers.Dense(4)(latents))
            ),
            keras.Model(images, layers.Dense(1)(layers.Flatten()(images))),
            loss="wasserstein",
        )
        optimizers = [
            keras.optimizers.LossScaleOptimizer(
                keras.optimizers.SGD(0.1), initial_scale=2.0**10
            )
            for _ in range(2)
        ]
        gan.compile(*optimizers)

    def batches(replicas, num_replicas):
        # Its gradient is the pictures; scaled, 1e38 is none of float32.
        update = [np.full((3, 2, 2, 1), size) for size in (1.0, 1e38)]
        fine = [np.full((3, 2, 2, 1), size) for size in (1.0, 2.0)]
        images = np.array(update + fine, "float32")
        return tf.data.Dataset.from_tensor_slices(images).repeat()

    def local(variable):
        first, second = two_replicas.experimental_local_results(variable.value)
        np.testing.assert_array_equal(first, second)
        return np.array(first)

    seen = []

    def note(batch, logs=None):
        kernel = gan.discriminator.trainable_variables[0]
        seen.append(
            (local(kernel), [local(o.dynamic_scale) for o in optimizers])
        )
        local(gan.generator.trainable_variables[0])

    gan.fit(
        distribution.distribute(two_replicas, batches),
        steps_per_epoch=2,
        shuffle=False,
        verbose=0,
        callbacks=[
            keras.callbacks.LambdaCallback(
                on_train_begin=lambda logs: note(0), on_train_batch_end=note
            )
        ],
    )
    kernels_seen, scales = zip(*seen)
    np.testing.assert_array_equal(kernels_seen[0], kernels_seen[1])
    assert not np.isclose(kernels_seen[1], kernels_seen[2]).any()
    assert scales == ([1024, 1024], [1024, 512], [1024, 512])
