"""The operator norm of each kernel as the map that a layer makes of it."""

import itertools
import math
from typing import NamedTuple

import keras
import numpy as np
from keras import layers
from keras import ops

from sngan_tf.certificates import convolution_norms
from sngan_tf.certificates import singular_values
from sngan_tf.certificates import walk
from sngan_tf.layers import convolution as convolution_lib
from sngan_tf.layers import spectra

# Classes themselves: what is derived from them may compute otherwise.
_MATRICES = (
    layers.Dense,
    layers.Embedding,
    layers.GRUCell,
    layers.LSTMCell,
    layers.SimpleRNNCell,
)
_CONVOLUTIONS = (
    layers.Conv1D,
    layers.Conv2D,
    layers.Conv3D,
    layers.Conv1DTranspose,
    layers.Conv2DTranspose,
    layers.Conv3DTranspose,
    layers.DepthwiseConv1D,
    layers.DepthwiseConv2D,
    layers.SeparableConv1D,
    layers.SeparableConv2D,
)


class OperatorNorm(NamedTuple):
    """The norm of a linear map, from both sides.

    Attributes:
        lower: Attained by some input.
        upper: Never exceeded.
        how: The upper one was found: "svd" of a matrix, "svd of the map" of a
            convolution, which both are exact; "fft", of a circular convolution
            that holds the map; "taps", from the matrix and how often an input
            is seen; or "unknown".
    """

    lower: float
    upper: float
    how: str


_UNKNOWN = OperatorNorm(0.0, math.inf, "unknown")


def operator_norms(model, input_shape=None):
    """Returns `{name: OperatorNorm}` of each kernel as its layer applies it.

    Of one example, without bias and activation, of the kernels that inference
    uses, in float64. `spectral_norms` measures matrices; of a convolution the
    norm of the map is up to sqrt(taps) times as large. An embedding, a
    recurrent layer's cell and the parts of a separable convolution have that
    of each kernel alone.

    A convolution is measured at the sizes that it is called with in the graph
    of the model, the largest counts; without graph at that of its build. Where
    that is open, the bounds hold for all sizes: lower is attained at some. Maps
    of at most 4,096 inputs or outputs are exact, to 1e-8; larger ones lie
    between both. The kernel of a custom layer has (0, inf, "unknown").

    Args:
        model: A built Keras model or layer.
        input_shape: Of one example, as `(32, 32, 3)`, or a list of such for
            several inputs; None for that of the model.

    Returns:
        Names as of `spectral_norms`.

    Raises:
        ValueError: On a kernel that is not finite, and an `input_shape` that
            is not the model's.
    """
    shapes = _input_shapes(model, input_shape)
    values = spectra.in_effect(model)
    norms = {}
    for kernel in spectra.named_kernels(model):
        value = _as_computed(kernel.layer, values[id(kernel.variable)])
        _check_finite(value, kernel.name)
        norms[kernel.name] = max(
            (
                _norm(kernel.layer, kernel.variable, value, shape)
                for shape in {*shapes.get(id(kernel.layer), [None])}
            ),
            key=lambda norm: norm.upper,
        )
    return norms


def upper(layer, variable, value, input_shape=None):
    """Returns `(bound, how)` of one kernel, as of `OperatorNorm`.

    Args:
        layer: Built layer that computes with the kernel itself.
        variable: The kernel.
        value: Of the kernel in effect, an array of its shape.
        input_shape: Of a call, with batch axis; None for that of the build.

    Raises:
        ValueError: On a value that is not finite.
    """
    value = np.asarray(value, np.float64)
    _check_finite(value, variable.path)
    norm = _norm(layer, variable, value, input_shape)
    return norm.upper, norm.how


def as_blocks(equation, kernel):
    """Returns the matrices of an EinsumDense layer: (blocks, inputs, outputs).

    Labels that input, kernel and output share count blocks, as the map is one
    for each. None for an equation where a label is summed over that inputs or
    kernel have alone, or stands twice in a term.

    Args:
        equation: Of the layer, such as `"abc,cd->abd"`.
        kernel: Array.
    """
    operands, outputs = equation.replace("...", "").split("->")
    inputs, labels = operands.split(",")
    terms = [set(inputs), set(labels), set(outputs)]
    twice = any(
        len(term) < len(string)
        for term, string in zip(terms, (inputs, labels, outputs))
    )
    alone = (terms[0] ^ terms[1]) - terms[2]
    if twice or alone or _has_uneven_ellipsis(equation):
        return None
    kinds = (
        terms[0] & terms[1] & terms[2],
        terms[1] - terms[2],
        terms[1] - terms[0],
    )
    axes = [[labels.index(k) for k in labels if k in kind] for kind in kinds]
    shape = [math.prod(kernel.shape[axis] for axis in kind) for kind in axes]
    return np.transpose(kernel, [*itertools.chain(*axes)]).reshape(shape)


def _has_uneven_ellipsis(equation):
    operands, outputs = equation.split("->")
    inputs, labels = operands.split(",")
    return "..." in labels or ("..." in inputs) != ("..." in outputs)


def _norm(layer, variable, value, input_shape):
    if type(layer) in _MATRICES:
        return _of_matrices(value[None])
    if type(layer) is layers.EinsumDense:
        blocks = as_blocks(layer.equation, value)
        return _UNKNOWN if blocks is None else _of_matrices(blocks)
    if type(layer) in _CONVOLUTIONS:
        return _of_convolution(layer, variable, value, input_shape)
    if _is_convolutional_cell(layer):
        strides = layer.strides
        if variable is layer.recurrent_kernel:
            strides = (1,) * len(strides)
        matrix = value.reshape(1, -1, value.shape[-1])
        return _from_taps(matrix, value.shape[: len(strides)], strides)
    return _UNKNOWN


def _of_convolution(layer, variable, value, input_shape):
    shape = input_shape or convolution_lib.build_shape(layer)
    first = layer.data_format == "channels_first"
    # Any size will do for the matrices, if it holds the kernel.
    closed = list(shape)
    for i, (taps, rate) in enumerate(
        zip(variable.shape[:-2], layer.dilation_rate), start=1 + first
    ):
        closed[i] = closed[i] or (taps - 1) * rate + 1
    convolution = convolution_lib.of_kernel(layer, variable, tuple(closed))
    if convolution is None:  # Of one tap.
        return _of_matrices(value.reshape(1, *value.shape[-2:]))
    matrices = np.asarray(
        ops.convert_to_numpy(convolution.matrices(value)), np.float64
    )
    if None in shape[1:]:
        strides = [
            axis.stride // math.gcd(axis.stride, axis.dilation)
            for axis in convolution.axes
        ]
        return _from_taps(matrices, variable.shape[:-2], strides)
    return OperatorNorm(*convolution_norms.bounds(convolution, matrices))


def _of_matrices(matrices):
    return OperatorNorm(*singular_values.of_matrices(matrices), "svd")


def _from_taps(matrices, kernel_size, strides):
    """Returns the norm of a convolution at all sizes.

    An input is seen through at most ceil(k / s) taps along an axis, and each
    output is its matrix times what it sees; where one is alone, that is all.
    """
    lower, upper = singular_values.of_matrices(matrices)
    seen = math.prod(-(-k // s) for k, s in zip(kernel_size, strides))
    return OperatorNorm(lower, math.sqrt(seen) * upper, "taps")


def _is_convolutional_cell(layer):
    # A class that Keras keeps to itself.
    kind = type(layer)
    return kind.__name__ == "ConvLSTMCell" and kind.__module__.startswith(
        "keras."
    )


def _as_computed(layer, kernel):
    """Returns a kernel as inference rounds it, float64."""
    kernel = ops.cast(kernel, layer.compute_dtype)
    # NumPy has no bfloat16.
    wide = keras.backend.result_type(kernel.dtype, "float32")
    return np.asarray(ops.convert_to_numpy(ops.cast(kernel, wide)), np.float64)


def _check_finite(value, name):
    if not np.all(np.isfinite(value)):
        raise ValueError(
            f"Kernels must be finite. Received: {name} with inf or nan"
        )


def _input_shapes(model, input_shape):
    """Returns `{id(layer): shapes}` of the calls that are known."""
    function = walk.graph(model)
    if function is not None:
        open_size = any(None in x.shape[1:] for x in function.inputs)
        if open_size and input_shape is None:
            return {}
        return walk.input_shapes(model, input_shape)
    if input_shape is None:
        return {}
    if isinstance(model, keras.Model):
        raise ValueError(
            "`input_shape` must be None for a model that is no graph of "
            f"layers. Received: input_shape={input_shape}, {model.name}"
        )
    return {id(walk.wrapped(model)): [(None, *input_shape)]}
