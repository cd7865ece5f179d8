"""The example of training on JAX, where that is the backend."""

import gradients
import keras
import numpy as np
import pytest
import small
from keras import ops

from sngan_tf import losses
from sngan_tf import networks
from sngan_tf.layers import power_iteration

RATE = 0.5


@pytest.fixture(scope="module")
def train_jax():
    if keras.backend.backend() != "jax":
        pytest.skip("KERAS_BACKEND=jax runs it")
    import train_jax

    return train_jax


def values(variables):
    return [np.array(variable) for variable in variables]


def us_of(network):
    return [v for v in network.variables if v.name == "u"]


def updated(train_jax, pair, images, rate, generator_batch=None):
    """Takes one step with SGD and returns the losses."""
    import jax

    optimizers = [keras.optimizers.SGD(rate) for _ in pair]
    state = train_jax.initial_state(*pair, *optimizers)
    step = train_jax.training_step(*pair, *optimizers, generator_batch)
    state, found = jax.jit(step)(state, jax.random.key(0), images)
    train_jax.keep(state, *pair)
    return found


def test_trains_the_cnn_of_table_3(train_jax, monkeypatch, capsys):
    pairs, build = [], networks.build

    def noted(*args, **kwargs):
        pairs.append(build(*args, **kwargs))
        before.extend(map(values, (n.variables for n in pairs[0])))
        return pairs[0]

    before = []
    monkeypatch.setattr(train_jax.networks, "build", noted)
    flags = "--size=8 --width=0.03 --batch=2 --discriminator_steps=2"
    monkeypatch.setattr(
        "sys.argv", ["train_jax.py", *flags.split(), "--updates=2"]
    )
    train_jax.main()
    assert capsys.readouterr().out.startswith("2: d_loss ")
    # Seven convolutions and a dense layer.
    assert len(us_of(pairs[0][1])) == 8
    for network, old in zip(pairs[0], before, strict=True):
        for variable, value in zip(network.variables, old, strict=True):
            assert np.isfinite(variable).all()
            # Its u is a sign; its bias has slopes that cancel while logits
            # are within the hinge's margin.
            if not variable.path.startswith("normalized_dense/") or (
                variable.path.endswith("kernel")
            ):
                assert not np.array_equal(variable, value), variable.path


def test_u_advances_once_per_discriminator_update(train_jax):
    """Of three, by optimizers that change nothing; not in the generator's."""
    pair = small.build("cnn", (8, 8, 1), 4, 1)
    layer = pair[1].layers[1]
    (kernel,), (u, _) = layer.kernels, us_of(pair[1])
    # Of singular values that are close, so that u is not settled at once.
    kernel.assign(np.random.default_rng(0).normal(size=kernel.shape))
    expected, w = np.array(u), np.array(kernel).reshape(-1, 4).T
    images = np.random.default_rng(0).uniform(-1, 1, (3, 2, 8, 8, 1))
    mean = np.array(pair[0].get_layer("bn").moving_mean)
    updated(train_jax, pair, images, rate=0.0, generator_batch=6)
    for _ in range(3):
        v = w.T @ expected
        expected = w @ v / np.linalg.norm(w @ v)
    np.testing.assert_allclose(u, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(pair[0].get_layer("bn").moving_mean - mean).max() > 1e-6


def test_step_descends_both_losses(train_jax):
    """Held against a step of calls that assign, one network at a time."""
    import jax

    generator, discriminator = pair = small.build("cnn", (8, 8, 1), 4, 1)
    start = [network.get_weights() for network in pair]
    real = np.random.default_rng(0).uniform(-1, 1, (2, 8, 8, 1))
    found = updated(train_jax, pair, real[None], RATE)
    ours = [values(network.variables) for network in pair]

    for network, weights in zip(pair, start):
        network.set_weights(weights)
    hinge = losses.get("hinge")
    latents = [
        jax.random.normal(key, (2, 4))
        for key in jax.random.split(jax.random.key(0), 2)
    ]
    fake = generator(latents[0], training=True)

    def d_loss():
        logits = discriminator(ops.concatenate([real, fake]), training=True)
        return hinge.discriminator(logits[:2], logits[2:])

    def g_loss():
        with power_iteration.paused():
            images = generator(latents[1], training=True)
            return hinge.generator(discriminator(images, training=True))

    for network, loss, theirs in (
        (discriminator, d_loss, found[0]),
        (generator, g_loss, found[1]),
    ):
        value, slopes = gradients.of(loss, network.trainable_variables)
        # Logits of both signs, the mean of which is near 0.
        np.testing.assert_allclose(theirs, value, rtol=1e-5, atol=1e-7)
        for variable, slope in zip(network.trainable_variables, slopes):
            variable.assign_sub(RATE * slope)
    for network, expected in zip(pair, ours):
        for variable, value in zip(network.variables, expected, strict=True):
            np.testing.assert_allclose(value, variable, rtol=1e-4, atol=1e-5)
