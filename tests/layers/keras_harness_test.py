"""Every wrapper around every kind of layer, by the harness of Keras itself.

Configs, serialization, building by shapes and by calls, symbolic and eager
outputs, masks, mixed precision, and for some a compiled step of training.
"""

import itertools

import keras
import numpy as np
import pytest
from keras import layers
from keras.src import testing

from sngan_tf.layers import FrobeniusNormalization
from sngan_tf.layers import SpectralNormalization
from sngan_tf.layers import SpectralRegularization
from sngan_tf.layers import WeightNormalization

# The layer, the shape of its inputs, and how many of its weights are kernels.
CASES = {
    "dense": (lambda: layers.Dense(2), (3, 4), 1),
    "dense_on_images": (lambda: layers.Dense(2), (2, 3, 4, 3), 1),
    "einsum": (lambda: layers.EinsumDense("abc,cd->abd", (4, 2)), (2, 4, 3), 1),
    "conv_1d": (lambda: layers.Conv1D(2, 3), (2, 5, 3), 1),
    "conv_2d": (lambda: layers.Conv2D(2, 3), (2, 5, 5, 3), 1),
    "conv_3d": (lambda: layers.Conv3D(2, 2), (2, 3, 3, 3, 2), 1),
    "transpose_1d": (lambda: layers.Conv1DTranspose(2, 3), (2, 5, 3), 1),
    "transpose_2d": (lambda: layers.Conv2DTranspose(2, 3), (2, 5, 5, 3), 1),
    "transpose_3d": (lambda: layers.Conv3DTranspose(2, 2), (2, 3, 3, 3, 2), 1),
    "depthwise_1d": (lambda: layers.DepthwiseConv1D(3), (2, 5, 3), 1),
    "depthwise_2d": (lambda: layers.DepthwiseConv2D(3), (2, 5, 5, 3), 1),
    "separable_1d": (lambda: layers.SeparableConv1D(2, 3), (2, 5, 3), 2),
    "separable_2d": (lambda: layers.SeparableConv2D(2, 3), (2, 5, 5, 3), 2),
    "embedding": (lambda: layers.Embedding(5, 3), (2, 4), 1),
    "simple_rnn": (lambda: layers.SimpleRNN(3), (2, 4, 3), 2),
    "lstm": (lambda: layers.LSTM(3), (2, 4, 3), 2),
    "gru": (lambda: layers.GRU(3), (2, 4, 3), 2),
    "bidirectional": (
        lambda: layers.Bidirectional(layers.GRU(2)),
        (2, 4, 3),
        4,
    ),
    "time_distributed": (
        lambda: layers.TimeDistributed(layers.Dense(2)),
        (2, 4, 3),
        1,
    ),
    "attention": (
        lambda: layers.MultiHeadAttention(2, 3),
        {"query_shape": (2, 4, 3), "value_shape": (2, 5, 3)},
        4,
    ),
    "attention_of_keys": (
        lambda: layers.MultiHeadAttention(2, 3),
        {
            "query_shape": (2, 4, 3),
            "value_shape": (2, 5, 2),
            "key_shape": (2, 5, 6),
        },
        4,
    ),
}
# JAX compiles each.
ON_ANY_BACKEND = (
    "dense",
    "conv_2d",
    "transpose_2d",
    "depthwise_2d",
    "embedding",
    "gru",
    "attention",
)
WRAPPERS = [
    SpectralNormalization,
    SpectralRegularization,
    WeightNormalization,
    FrobeniusNormalization,
]

harness = testing.TestCase()
each_wrapper = pytest.mark.parametrize(
    "wrapper", WRAPPERS, ids=lambda wrapper: wrapper.__name__
)


# What a layer brings is seen in one wrapper; what a wrapper brings, in layers
# of one kernel, of tokens, of several kernels and of several inputs.
@pytest.mark.parametrize(
    ("case", "wrapper"),
    [
        *(
            pytest.param(
                case,
                SpectralNormalization,
                marks=[] if case in ON_ANY_BACKEND else pytest.mark.one_backend,
            )
            for case in CASES
        ),
        *itertools.product(
            ("conv_2d", "embedding", "gru", "attention"), WRAPPERS[1:]
        ),
    ],
)
def test_harness_passes(case, wrapper):
    make, shape, kernels = CASES[case]
    spectral = issubclass(wrapper, SpectralNormalization)
    harness.run_layer_test(
        # A new layer each time, so that the wrapper is what builds it.
        lambda **kwargs: wrapper(make(), **kwargs),
        init_kwargs={},
        input_shape=shape,
        input_dtype="int32" if case == "embedding" else None,
        expected_num_non_trainable_weights=kernels if spectral else 0,
        expected_num_losses=0,
        supports_masking=make().supports_masking,
        # It compiles with XLA: for few, below.
        run_training_check=False,
    )


# Of the harness's own data.
@pytest.mark.filterwarnings("ignore:.*will be ignored since the data")
@each_wrapper
def test_harness_trains_and_takes_a_built_layer(wrapper):
    harness.run_layer_test(
        wrapper,
        # Built by the first call, and shared by all wrappers that are made.
        init_kwargs={"layer": layers.Conv2D(2, 3)},
        input_shape=(2, 5, 5, 3),
        expected_output_shape=(2, 3, 3, 2),
        run_mixed_precision_check=False,
    )


# What Keras's own tests of its spectral normalization ask beside this, but for
# the one that expects an inference which does not divide.


@pytest.mark.parametrize("training", [True, False])
def test_convolution_of_ones_has_norm_two(training):
    layer = SpectralNormalization(
        layers.Conv2D(1, 2, kernel_initializer="ones"), power_iterations=8
    )
    outputs = layer(np.ones((1, 2, 2, 1)), training=training)
    np.testing.assert_allclose(outputs, [[[[4 / 2]]]], rtol=1e-6)


def test_tokens_may_be_floats():
    harness.run_layer_test(
        lambda **kwargs: SpectralNormalization(
            layers.Embedding(10, 4), **kwargs
        ),
        init_kwargs={},
        input_data=np.arange(10, dtype="float32"),
        expected_output_shape=(10, 4),
        run_training_check=False,
    )


def test_fit_lowers_the_loss():
    layer = SpectralNormalization(
        layers.Conv2D(3, 2, padding="same"), power_iterations=2
    )
    model = keras.Sequential([layer])
    model.compile("rmsprop", loss="mse", jit_compile=False)
    inputs, targets = np.random.default_rng(0).random((2, 4, 8, 8, 3))
    losses = model.fit(inputs, targets, epochs=3, verbose=0).history["loss"]
    assert losses == sorted(losses, reverse=True)
