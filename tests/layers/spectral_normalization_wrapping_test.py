"""What the wrapper leaves to the layer inside it."""

import keras
import numpy as np
import pytest
from keras import layers

from sngan_tf import SpectralNormalization

VECTORS = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")
IMAGES = np.random.default_rng(0).normal(size=(2, 5, 5, 3)).astype("float32")
SEQUENCES = IMAGES[0]
TOKENS = np.array([[1, 2, 3, 0, 0], [4, 0, 0, 0, 0]])


def called(layer, inputs):
    wrapper = SpectralNormalization(layer)
    wrapper(inputs)
    return wrapper


def test_wraps_a_built_layer():
    layer = layers.Dense(5)
    layer.build((None, 6))
    layer.kernel.assign(np.linspace(-1, 1, 30).reshape(6, 5) ** 3)
    wrapper = called(layer, VECTORS)
    assert wrapper.kernels == [layer.kernel]
    truth = np.linalg.norm(np.array(layer.kernel, "float64"), 2)
    np.testing.assert_allclose(wrapper.spectral_norm(), truth, rtol=1e-5)


@pytest.mark.parametrize("arguments", [{"training": True}, {}])
@pytest.mark.parametrize(
    ("layer", "inputs"),
    [
        (layers.Dense(5), [VECTORS]),
        (layers.Conv2D(4, 3), [IMAGES]),
        (layers.LSTM(4), [SEQUENCES]),
        (layers.Embedding(8, 3), [TOKENS]),
        (layers.MultiHeadAttention(2, 3), [SEQUENCES, SEQUENCES[:, :3]]),
    ],
    ids=lambda x: getattr(x, "name", ""),
)
def test_first_call_builds_in_any_mode(layer, inputs, arguments):
    wrapper = SpectralNormalization(type(layer).from_config(layer.get_config()))
    outputs = wrapper(*inputs, **arguments)
    assert outputs.shape == wrapper.layer(*inputs).shape


def test_embedding_of_int_inputs_gives_the_rows():
    wrapper = called(layers.Embedding(8, 3), TOKENS)
    rows = np.array(wrapper.normalized_kernel())
    np.testing.assert_allclose(wrapper(TOKENS), rows[TOKENS], rtol=1e-6)
    assert np.linalg.norm(rows, 2) == pytest.approx(1, rel=1e-5)


def test_custom_layer_without_build_is_built_by_a_call():
    class Block(layers.Layer):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(3)

        def call(self, inputs):
            return self.dense(inputs)

    block = Block()
    wrapper = SpectralNormalization(block)
    inputs = np.random.default_rng(0).normal(size=(2, 4)).astype("float32")
    outputs = wrapper(inputs, training=True)
    (kernel,) = wrapper.kernels
    assert kernel is block.dense.kernel
    sigma = np.linalg.norm(kernel, 2)
    np.testing.assert_allclose(outputs, inputs @ kernel / sigma, rtol=1e-3)


def test_dense_takes_extra_batch_axes():
    wrapper = called(layers.Dense(5), IMAGES)
    flat = wrapper(IMAGES.reshape(-1, 3))
    np.testing.assert_allclose(
        np.reshape(wrapper(IMAGES), (-1, 5)), flat, rtol=1e-5
    )


def test_mask_passes_through():
    model = keras.Sequential(
        [
            SpectralNormalization(layers.Embedding(8, 4, mask_zero=True)),
            SpectralNormalization(layers.Dense(4)),
            SpectralNormalization(layers.LSTM(3)),
        ]
    )
    padded = model(TOKENS)
    np.testing.assert_allclose(padded[:1], model(TOKENS[:1, :3]), rtol=1e-5)
    np.testing.assert_allclose(padded[1:], model(TOKENS[1:, :1]), rtol=1e-5)


@pytest.mark.parametrize(
    ("layer", "masked"),
    [
        (layers.Dense(4), True),
        (layers.GRU(4, return_sequences=True), True),
        (layers.GRU(4), False),
        (layers.Conv1D(4, 3, padding="same"), False),
    ],
    ids=["dense", "gru_sequences", "gru_last", "conv"],
)
@pytest.mark.filterwarnings("ignore:.*does not support masking")
def test_output_mask_is_that_of_the_layer(layer, masked):
    inputs = layers.Embedding(8, 4, mask_zero=True)(TOKENS)
    outputs = called(layer, inputs)(inputs)
    expected = getattr(layer(inputs), "_keras_mask", None)
    assert (expected is not None) == masked
    if masked:
        np.testing.assert_array_equal(outputs._keras_mask, TOKENS != 0)
    else:
        assert getattr(outputs, "_keras_mask", None) is None


def test_explicit_mask_reaches_the_layer():
    wrapper = SpectralNormalization(layers.GRU(3))
    mask = np.arange(5) < [[4]] * len(SEQUENCES)
    np.testing.assert_allclose(
        wrapper(SEQUENCES, mask=mask), wrapper(SEQUENCES[:, :4]), rtol=1e-5
    )


def test_state_of_inner_layers_advances():
    """Seed generators and moving statistics are not the wrapper's to freeze."""
    dense, norm = layers.Dense(5, name="dense"), layers.BatchNormalization()
    dropout = layers.Dropout(0.5, seed=1)
    wrapper = called(keras.Sequential([dense, norm, dropout]), VECTORS)
    seed = np.array(dropout.seed_generator.state)
    first, second = (
        np.array(wrapper(VECTORS, training=True)) for _ in range(2)
    )
    assert np.any((first == 0) != (second == 0))
    assert np.any(np.array(dropout.seed_generator.state) != seed)
    mean = VECTORS.mean(axis=0) @ np.array(wrapper.normalized_kernel())
    # Two updates with momentum 0.99, from zeros.
    np.testing.assert_allclose(
        norm.moving_mean, (1 - 0.99**2) * mean, rtol=1e-3, atol=1e-6
    )


def test_losses_of_the_layer_are_kept():
    regularizer = keras.regularizers.L2(0.1)
    layer = layers.Dense(
        5, kernel_regularizer=regularizer, activity_regularizer=regularizer
    )
    wrapper = called(layer, VECTORS)
    wrapper(VECTORS)
    # Versions of Keras differ in how an activity is averaged.
    plain = layers.Dense(5, activity_regularizer=regularizer)
    plain.build(VECTORS.shape)
    plain.kernel.assign(wrapper.normalized_kernel())
    plain(VECTORS)
    expected = [regularizer(layer.kernel), *plain.losses]
    assert len(plain.losses) == 1
    np.testing.assert_allclose(np.sort(wrapper.losses), np.sort(expected))
