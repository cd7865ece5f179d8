"""Half-precision policies: W, u and sigma stay float32."""

import keras
import numpy as np
import pytest
from keras import layers

from sngan_tf import SpectralNormalization

POLICIES = ["mixed_float16", "mixed_bfloat16", "float16", "bfloat16"]
SEQUENCES = np.random.default_rng(0).normal(size=(3, 5, 6)).astype("float32")
# In float16 and in bfloat16 this is 1.
BARELY_MORE_THAN_ONE = np.float32(1 + 2**-20)

every_policy = pytest.mark.parametrize("policy", POLICIES)
every_layer_and_policy = pytest.mark.parametrize(
    ("layer_class", "policy"),
    [
        *((layers.Dense, policy) for policy in POLICIES),
        (layers.GRU, "mixed_float16"),
        (layers.GRU, "bfloat16"),
        (layers.MultiHeadAttention, "mixed_bfloat16"),
        (layers.MultiHeadAttention, "float16"),
    ],
)


def called(layer_class, policy):
    sizes, inputs = (4,), [SEQUENCES]
    if layer_class is layers.MultiHeadAttention:
        sizes, inputs = (2, 3), [SEQUENCES, SEQUENCES]
    wrapper = SpectralNormalization(layer_class(*sizes, dtype=policy))
    wrapper(*inputs)
    return wrapper, inputs


@every_layer_and_policy
def test_training_call_keeps_every_bit_of_the_kernel(layer_class, policy):
    wrapper, inputs = called(layer_class, policy)
    for kernel in wrapper.kernels:
        kernel.assign(np.full(kernel.shape, BARELY_MORE_THAN_ONE))
    wrapper(*inputs, training=True)
    for kernel in wrapper.kernels:
        assert kernel.dtype == "float32"
        np.testing.assert_array_equal(kernel, BARELY_MORE_THAN_ONE)


@every_layer_and_policy
def test_only_the_outputs_are_half(layer_class, policy):
    wrapper, inputs = called(layer_class, policy)
    outputs = wrapper(*inputs, training=True)
    assert policy.endswith(keras.backend.standardize_dtype(outputs.dtype))
    assert {v.dtype for v in wrapper.variables if v.name == "u"} == {"float32"}
    for value in keras.tree.flatten(
        [wrapper.spectral_norm(), wrapper.normalized_kernel()]
    ):
        assert keras.backend.standardize_dtype(value.dtype) == "float32"

    full, _ = called(layer_class, "float32")
    full.set_weights(wrapper.get_weights())
    # bfloat16 has 8 bits.
    np.testing.assert_allclose(
        np.array(outputs, "float32"), full(*inputs), rtol=0.05, atol=0.02
    )


@every_policy
def test_sigma_has_float32_accuracy(policy):
    wrapper, _ = called(layers.Dense, policy)
    truth = np.linalg.norm(np.array(wrapper.kernels[0], "float64"), 2)
    np.testing.assert_allclose(wrapper.spectral_norm(), truth, rtol=1e-5)


@pytest.fixture
def half_global_policy():
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy("float32")


@pytest.mark.usefixtures("half_global_policy")
def test_power_iteration_is_float32_in_a_half_model():
    wrapper = SpectralNormalization(layers.Dense(4))
    model = keras.Sequential([wrapper])
    model(SEQUENCES)
    (variable,) = [v for v in wrapper.variables if v.name == "u"]
    variable.assign(np.ones(4) / 2)
    outputs = model(SEQUENCES, training=True)
    assert keras.backend.standardize_dtype(outputs.dtype) == "bfloat16"

    w = np.array(wrapper.kernels[0], "float64")
    u = w.T @ w @ np.ones(4)
    np.testing.assert_allclose(variable, u / np.linalg.norm(u), atol=1e-6)


def test_dtype_of_the_wrapper_has_no_effect():
    wrapper = SpectralNormalization(layers.Dense(4), dtype="float16")
    outputs = wrapper(SEQUENCES)
    assert keras.backend.standardize_dtype(outputs.dtype) == "float32"
    assert {v.dtype for v in wrapper.variables} == {"float32"}


@pytest.mark.parametrize("policy", ["float16", "bfloat16"])
def test_already_half_kernel_is_refused(policy):
    layer = layers.Dense(4, dtype=policy)
    layer.build((None, 6))
    with pytest.raises(ValueError, match=f"float32.*dense.*/kernel.*{policy}"):
        SpectralNormalization(layer)(SEQUENCES)
