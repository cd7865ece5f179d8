"""The layer on the running backend, and this file again on the others."""

import os
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

# Layer, and the einsum from its kernel to d_out x rest.
CASES = [
    (layers.Dense(5), "io->oi"),
    (layers.Conv2DTranspose(5, 3), "hwoi->ohwi"),
]
each_case = pytest.mark.parametrize(
    ("layer", "subscripts"), CASES, ids=["dense", "conv_transpose"]
)


def called(layer, **arguments):
    layer = type(layer).from_config(layer.get_config())
    wrapper = SpectralNormalization(layer, **arguments)
    wrapper(IMAGES)
    return wrapper


def matrix(kernel, subscripts):
    kernel = np.einsum(subscripts, ops.convert_to_numpy(kernel))
    return kernel.reshape(len(kernel), -1).astype("float64")


def numpy_of(variables):
    return [np.array(ops.convert_to_numpy(v)) for v in variables]


def training_call(layer):
    """Returns the kernel's gradient of sum(sin(outputs)) and the new u."""
    if BACKEND == "jax":
        return _jax_training_call(layer)
    if BACKEND == "torch":
        ops.sum(ops.sin(layer(IMAGES, training=True))).backward()
        gradient = layer.kernels[0].value.grad
    else:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            loss = ops.sum(ops.sin(layer(IMAGES, training=True)))
        gradient = tape.gradient(loss, layer.kernels[0].value)
    return *numpy_of([gradient]), *numpy_of(layer.non_trainable_variables)


def _jax_training_call(layer):
    import jax

    def loss(trainable, state):
        outputs, state = layer.stateless_call(
            trainable, state, IMAGES, training=True
        )
        return ops.sum(ops.sin(outputs)), state

    (gradient, *_), (u,) = jax.jit(jax.grad(loss, has_aux=True))(
        [variable.value for variable in layer.trainable_variables],
        [variable.value for variable in layer.non_trainable_variables],
    )
    return np.array(gradient), np.array(u)


@each_case
def test_sigma_matches_svd(layer, subscripts):
    wrapper = called(layer, power_iterations=200)
    (kernel,) = wrapper.kernels
    truth = np.linalg.norm(matrix(kernel, subscripts), 2)
    first = float(wrapper.spectral_norm())
    assert 0.95 * truth <= first <= truth * (1 + 1e-5)
    wrapper(IMAGES, training=True)
    settled = float(wrapper.spectral_norm())
    np.testing.assert_allclose(settled, truth, rtol=1e-5)


@each_case
def test_gradient_matches_equation_12(layer, subscripts):
    wrapper = called(layer)
    (kernel,) = wrapper.kernels
    w = matrix(kernel, subscripts)
    u = np.arange(1.0, 6.0) / np.sqrt(55)
    wrapper.non_trainable_variables[0].assign(u)
    v = w.T @ u / np.linalg.norm(w.T @ u)
    u = w @ v / np.linalg.norm(w @ v)
    sigma = u @ w @ v

    gradient, new_u = training_call(wrapper)
    np.testing.assert_allclose(new_u, u, rtol=1e-4, atol=1e-6)
    # G_bar, from a wrapper of the same W_bar that lets the gradient through.
    scaled = called(layer, learn_scale=True)
