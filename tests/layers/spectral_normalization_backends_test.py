"""The layer on the running backend, and this file again on the others."""

import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

from sngan_tf import SpectralNormalization

BACKEND = keras.backend.backend()
IMAGES = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype("float32")

# A layer, and the einsum from its kernel to d_out x rest.
each_case = pytest.mark.parametrize(
    ("layer", "subscripts"),
    [
        (layers.Dense(5), "io->oi"),
        (layers.Conv2DTranspose(5, 3), "hwoi->ohwi"),
    ],
    ids=["dense", "conv_transpose"],
)


def called(layer, wrap=SpectralNormalization, **arguments):
    layer = wrap(type(layer).from_config(layer.get_config()), **arguments)
    layer(IMAGES)
    return layer


def unsettle(wrapper):
    """Gives u, of five entries, a new direction and returns it."""
    (variable,) = [v for v in wrapper.variables if v.name == "u"]
    variable.assign(np.arange(1, 6) / np.sqrt(55))
    return ops.convert_to_numpy(variable)


def matrix(kernel, subscripts):
    kernel = np.einsum(subscripts, ops.convert_to_numpy(kernel))
    return kernel.reshape(len(kernel), -1).astype("float64")


def differentiate(layer, **arguments):
    """Calls the layer, on JAX in a compiled stateless function.

    Returns:
        `(gradient, state)`: of sum(sin(outputs)) in the first trainable
        variable, the kernel; and the new non-trainable variables.
    """
    if BACKEND == "jax":
        return _differentiate_on_jax(layer, **arguments)
    kernel = layer.trainable_variables[0].value
    if BACKEND == "torch":
        ops.sum(ops.sin(layer(IMAGES, **arguments))).backward()
        gradient = kernel.grad
    else:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            loss = ops.sum(ops.sin(layer(IMAGES, **arguments)))
        gradient = tape.gradient(loss, kernel)
    return gradient, layer.non_trainable_variables


def _differentiate_on_jax(layer, **arguments):
    import jax

    def loss(trainable, state):
        outputs, state = layer.stateless_call(
            trainable, state, IMAGES, **arguments
        )
        return ops.sum(ops.sin(outputs)), state

    gradients, state = jax.jit(jax.grad(loss, has_aux=True))(
        [variable.value for variable in layer.trainable_variables],
        [variable.value for variable in layer.non_trainable_variables],
    )
    return gradients[0], state


def test_backend_is_the_one_asked_for():
    assert os.environ["KERAS_BACKEND"] == BACKEND


@each_case
def test_sigma_matches_svd(layer, subscripts):
    wrapper = called(layer, power_iterations=200)
    truth = np.linalg.norm(matrix(wrapper.kernels[0], subscripts), 2)
    first = float(wrapper.spectral_norm())
    assert 0.95 * truth <= first <= truth * (1 + 1e-5)
    wrapper(IMAGES, training=True)
    settled = float(wrapper.spectral_norm())
    np.testing.assert_allclose(settled, truth, rtol=1e-5)


@each_case
def test_training_follows_algorithm_1_and_equation_12(layer, subscripts):
    wrapper = called(layer)
    (kernel,) = wrapper.kernels
    w = matrix(kernel, subscripts)
    u = unsettle(wrapper)
    gradient, (new_u,) = differentiate(wrapper, training=True)

    v = w.T @ u / np.linalg.norm(w.T @ u)
    u = w @ v / np.linalg.norm(w @ v)
    sigma = u @ w @ v
    plain = called(layer, wrap=lambda layer: layer)
    plain.set_weights(wrapper.layer.get_weights())
    plain.kernel.assign(kernel / sigma)
    g_bar = matrix(differentiate(plain)[0], subscripts)
    expected = (g_bar - np.vdot(g_bar, w / sigma) * np.outer(u, v)) / sigma
    np.testing.assert_allclose(
        matrix(gradient, subscripts), expected, rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(
        ops.convert_to_numpy(new_u), u, rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("scale", [1e-20, 1e20])
def test_gradient_keeps_its_digits_at_extreme_scales(scale):
    moderate, extreme = called(layers.Dense(5)), called(layers.Dense(5))
    extreme.set_weights(moderate.get_weights())
    extreme.kernels[0].assign(moderate.kernels[0] * scale)
    expected, _ = differentiate(moderate, training=True)
    gradient, _ = differentiate(extreme, training=True)
    np.testing.assert_allclose(
        ops.convert_to_numpy(gradient * scale),
        ops.convert_to_numpy(expected),
        rtol=1e-3,
        atol=1e-4,
    )


def test_zero_kernel_gives_zeros_and_finite_gradients():
    wrapper = called(layers.Dense(5, kernel_initializer="zeros"))
    before = unsettle(wrapper)
    gradient, (u,) = differentiate(wrapper, training=True)
    np.testing.assert_array_equal(ops.convert_to_numpy(wrapper(IMAGES)), 0)
    np.testing.assert_array_equal(ops.convert_to_numpy(u), before)
    assert np.all(np.isfinite(ops.convert_to_numpy(gradient)))


def test_every_state_inside_advances():
    """Not only u: the moving statistics of a wrapped model as well."""
    wrapper = SpectralNormalization(
        keras.Sequential([layers.Dense(5), layers.BatchNormalization()])
    )
    wrapper(IMAGES)
    unsettle(wrapper)
    before = list(map(ops.convert_to_numpy, wrapper.non_trainable_variables))
    _, state = differentiate(wrapper, training=True)
    for old, new in zip(before, map(ops.convert_to_numpy, state), strict=True):
        assert not np.array_equal(old, new)


def test_update_advances_u_alone():
    wrapper = called(layers.Dense(5), power_iterations=2)
    u, w = unsettle(wrapper), matrix(wrapper.kernels[0], "io->oi")
    wrapper.update()
    for _ in range(2):
        u = w @ (w.T @ u)
        u /= np.linalg.norm(u)
    (new_u,) = wrapper.non_trainable_variables
    np.testing.assert_allclose(
        ops.convert_to_numpy(new_u), u, rtol=1e-4, atol=1e-6
    )


class Counted(layers.Layer):
    """A dense layer that counts its calls in a metric."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(5)
        self.calls = keras.metrics.Sum()

    def build(self, shape):
        self.dense.build(shape)

    def call(self, inputs):
        self.calls.update_state(1.0)
        return self.dense(inputs)


def test_metric_inside_counts():
    wrapper = called(Counted())
    wrapper(IMAGES, training=True)
    assert float(wrapper.layer.calls.result()) == 2


def test_subclassed_model_has_a_summary():
    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.wrapper = SpectralNormalization(layers.Dense(7))

        def call(self, inputs):
            return self.wrapper(inputs)

    model, lines = Model(), []
    model(IMAGES)
    model.summary(print_fn=lines.append)
    assert "(2, 4, 4, 7)" in lines[0]


def test_fit_trains_kernel_and_u():
    wrapper = SpectralNormalization(layers.Dense(5))
    model = keras.Sequential([wrapper])
    model.compile(optimizer="sgd", loss="mse")
    model.build(IMAGES.shape)
    unsettle(wrapper)
    before = model.get_weights()
    model.fit(IMAGES, np.ones((2, 4, 4, 5)), verbose=0)
    for old, new in zip(before, model.get_weights(), strict=True):
        assert not np.array_equal(old, new)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_file_passes_on_the_other_backend(backend):
    pytest.importorskip(backend, reason=f"{backend} is an optional backend")
    harness = pathlib.Path(__file__).with_name("keras_harness_test.py")
    cases = [
        f"{harness}::test_harness_passes[{case}-SpectralNormalization]"
        for case in ("dense", "embedding")
    ]
    pytest_here = [sys.executable, "-m", "pytest", "-o", "addopts=", __file__]
    result = subprocess.run(
        [*pytest_here, *cases, "-k", "not other_backend"],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout
