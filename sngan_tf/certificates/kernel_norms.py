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
from sngan_tf.layers import kernels
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
    values = in_effect(model)
    norms = {}
    for kernel in spectra.named_kernels(model):
        value = values[kernel.name]
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


def in_effect(model):
    """Returns `{name: kernel}`, float64, as inference rounds and uses them.

    Args:
        model: A built Keras model or layer.

    Raises:
        ValueError: On a kernel that is not finite.
    """
    kernels_in_effect = spectra.in_effect(model)
    found = {}
    for kernel in spectra.named_kernels(model):
        value = kernels_in_effect[id(kernel.variable)]
        value = ops.cast(value, kernel.layer.compute_dtype)
        # NumPy has no bfloat16.
        wide = keras.backend.result_type(value.dtype, "float32")
        value = ops.convert_to_numpy(ops.cast(value, wide))
        found[kernel.name] = np.asarray(value, np.float64)
        _check_finite(found[kernel.name], kernel.name)
    return found


def as_map(layer, variable, value, input_shape=None):
    """Returns `(convolution, matrices)`, what a layer makes of a kernel.

    Without convolution, None, the matrices are `(blocks, inputs, outputs)`,
    side by side, and applied at each position alike.

    Args:
        layer: As of `upper`.
        variable: As of `upper`.
        value: As of `upper`, float64.
        input_shape: As of `upper`. The matrices are those of any size.

    Returns:
        None where the map is not known.
    """
    if type(layer) in _MATRICES:
        return None, value[None]
    if type(layer) is layers.EinsumDense:
        blocks = _blocks(layer.equation, value)
        return None if blocks is None else (None, blocks)
    if type(layer) not in _CONVOLUTIONS:
        return None
    shape = list(input_shape or convolution_lib.build_shape(layer))
    first = layer.data_format == "channels_first"
    for i, (taps, rate) in enumerate(
        zip(variable.shape[:-2], layer.dilation_rate), start=1 + first
    ):
        shape[i] = shape[i] or (taps - 1) * rate + 1
    convolution = convolution_lib.of_kernel(layer, variable, tuple(shape))
    if convolution is None:  # Of one tap.
        matrix = value.reshape(1, *value.shape[-2:])
        transposed = kernels.is_transposed(layer)
        return None, np.swapaxes(matrix, 1, 2) if transposed else matrix
    matrices = ops.convert_to_numpy(convolution.matrices(value))
    return convolution, np.asarray(matrices, np.float64)


def _norm(layer, variable, value, input_shape):
    if _is_convolutional_cell(layer):
        strides = layer.strides
        if variable is layer.recurrent_kernel:
            strides = (1,) * len(strides)
        matrix = value.reshape(1, -1, value.shape[-1])
        return _from_taps(matrix, value.shape[: len(strides)], strides)
    found = as_map(layer, variable, value, input_shape)
    if found is None:
        return OperatorNorm(0.0, math.inf, "unknown")
    convolution, matrices = found
    if convolution is None:
        return OperatorNorm(*singular_values.of_matrices(matrices), "svd")
    if None in (input_shape or convolution_lib.build_shape(layer))[1:]:
        strides = [
            axis.stride // math.gcd(axis.stride, axis.dilation)
            for axis in convolution.axes
        ]
        return _from_taps(matrices, variable.shape[:-2], strides)
    return OperatorNorm(*convolution_norms.bounds(convolution, matrices))


def _blocks(equation, kernel):
    """Returns the matrices of an EinsumDense layer: (blocks, inputs, outputs).

    Labels that input, kernel and output share count blocks, as the map is one
    for each. None for an equation where a label is summed over that inputs or
    kernel have alone, or stands twice in a term.
    """
    operands, outputs = equation.split("->")
    inputs, labels = operands.split(",")
    open_ = [("..." in string) for string in (labels, inputs, outputs)]
    strings = [x.replace("...", "") for x in (inputs, labels, outputs)]
    terms = inputs, labels, outputs = [set(string) for string in strings]
    twice = sum(map(len, terms)) < sum(map(len, strings))
    alone = (inputs ^ labels) - outputs
    if open_ not in ([False, False, False], [False, True, True]):
        return None
    if twice or alone:
        return None
    kinds = inputs & labels & outputs, labels - outputs, labels - inputs
    axes = [
        [strings[1].index(label) for label in sorted(kind)] for kind in kinds
    ]
    shape = [math.prod(kernel.shape[axis] for axis in kind) for kind in axes]
    return np.transpose(kernel, [*itertools.chain(*axes)]).reshape(shape)


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
