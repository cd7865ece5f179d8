import keras
import numpy as np
import pytest
from keras import layers

from sngan_tf.layers import kernels
from sngan_tf.layers import power_iteration


def built(layer, *shapes):
    layer.build(*shapes)
    return layer


def matrix_of(layer):
    ((variable, output_axes),) = kernels.find_kernels(layer)
    return np.array(power_iteration.as_matrix(variable.value, output_axes))


@pytest.mark.parametrize(
    ("layer", "input_shape", "output_index"),
    [
        (layers.Dense(5), (3,), ()),
        (layers.Conv1D(5, 3), (3, 2), (0,)),
        (layers.Conv2D(5, (3, 2)), (3, 2, 4), (0, 0)),
        (layers.Conv3D(3, 2), (2, 2, 2, 2), (0, 0, 0)),
        # The middle output of a transposed convolution sees every input.
        (layers.Conv1DTranspose(5, 3), (3, 2), (2,)),
        (layers.Conv2DTranspose(5, (3, 2)), (3, 2, 4), (2, 1)),
        (layers.Conv3DTranspose(3, 2), (2, 2, 2, 2), (1, 1, 1)),
        (layers.EinsumDense("ab,cb->ac", 5), (3,), ()),
        (layers.EinsumDense("abc,cde->abde", (2, 3, 5)), (2, 4), (0,)),
        (layers.EinsumDense("abc,dcb->ad", 5), (2, 4), ()),
        (layers.EinsumDense("...x,xy->...y", 5), (3,), ()),
    ],
    ids=lambda x: getattr(x, "name", ""),
)
def test_matrix_maps_what_one_output_sees_to_it(
    layer, input_shape, output_index
):
    """The matrix is the layer's own linear map, up to the inputs' order."""
    size = np.prod(input_shape)
    basis = np.eye(size, dtype="float32").reshape(size, *input_shape)
    outputs = np.array(layer(basis))[(slice(None), *output_index)]
    jacobian = outputs.reshape(size, -1).T
    seen = jacobian[:, jacobian.any(axis=0)]
    matrix = matrix_of(layer)
    np.testing.assert_allclose(np.sort(matrix), np.sort(seen), rtol=1e-5)
    np.testing.assert_allclose(
        np.linalg.svd(matrix, compute_uv=False),
        np.linalg.svd(seen, compute_uv=False),
        rtol=1e-5,
    )


@pytest.mark.parametrize(
    ("layer", "input_shape", "shape"),
    [
        (layers.DepthwiseConv1D(3, depth_multiplier=2), (None, 8, 5), (10, 3)),
        (layers.DepthwiseConv2D(3), (None, 8, 8, 5), (5, 9)),
        (layers.EinsumDense("abc,bcd->abd", (4, 6)), (None, 4, 5), (24, 5)),
        (layers.Embedding(10, 4), (None,), (10, 4)),
    ],
    ids=lambda x: getattr(x, "name", ""),
)
def test_matrix_is_d_out_by_rest(layer, input_shape, shape):
    assert matrix_of(built(layer, input_shape)).shape == shape


@pytest.mark.parametrize(
    ("layer", "shapes", "paths"),
    [
        (
            layers.SeparableConv2D(4, 3),
            [(None, 8, 8, 3)],
            ["depthwise_kernel", "pointwise_kernel"],
        ),
        (
            layers.LSTM(3),
            [(None, 5, 2)],
            ["lstm_cell/kernel", "lstm_cell/recurrent_kernel"],
        ),
        (
            layers.Bidirectional(layers.SimpleRNN(3, name="simple_rnn")),
            [(None, 5, 2)],
            [
                "forward_simple_rnn/simple_rnn_cell/kernel",
                "forward_simple_rnn/simple_rnn_cell/recurrent_kernel",
                "backward_simple_rnn/simple_rnn_cell/kernel",
                "backward_simple_rnn/simple_rnn_cell/recurrent_kernel",
            ],
        ),
        (
            layers.MultiHeadAttention(2, 3),
            [(None, 5, 4), (None, 6, 7)],
            [
                "query/kernel",
                "key/kernel",
                "value/kernel",
                "attention_output/kernel",
            ],
        ),
    ],
    ids=lambda x: getattr(x, "name", ""),
)
def test_finds_every_kernel_of_a_composite(layer, shapes, paths):
    found = [v.path for v, _ in kernels.find_kernels(built(layer, *shapes))]
    assert len(found) == len(paths)
    assert all(map(str.endswith, found, paths))


def test_finds_a_shared_kernel_once():
    dense = layers.Dense(4)
    model = built(keras.Sequential([dense, layers.ReLU(), dense]), (None, 4))
    ((variable, _),) = kernels.find_kernels(model)
    assert variable is dense.kernel


@pytest.mark.parametrize(
    "layer",
    [
        layers.ReLU(),
        layers.BatchNormalization(),
        layers.LayerNormalization(),
        layers.PReLU(),
    ],
    ids=lambda x: x.name,
)
def test_other_variables_are_no_kernels(layer):
    assert kernels.find_kernels(built(layer, (None, 4))) == []


def test_sublayers_are_listed_outermost_first():
    dense = layers.Dense(4)
    inner = keras.Sequential([dense])
    outer = keras.Sequential([inner])
    listed = kernels.sublayers(outer)
    assert [listed[0], listed[-1]] == [outer, dense]
    assert inner in listed
