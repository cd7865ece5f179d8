"""Which linear map a layer makes of a kernel."""

import itertools
import math

import numpy as np
from keras import layers
from keras import ops

from sngan_tf.layers import convolution as convolution_lib
from sngan_tf.layers import kernels

# Classes themselves: what is derived from them may compute otherwise.
_MATRICES = (
    layers.Dense,
    layers.Embedding,
    layers.GRUCell,
    layers.LSTMCell,
    layers.SimpleRNNCell,
)


def of_kernel(layer, variable, value, input_shape=None):
    """Returns `(convolution, matrices)`, what a layer makes of a kernel.

    Without convolution, None, the matrices are `(blocks, inputs, outputs)`,
    side by side, and applied at each position alike.

    Args:
        layer: Built layer that computes with the kernel itself.
        variable: The kernel.
        value: Of the kernel in effect, float64 of its shape.
        input_shape: Of a call, with batch axis; None for that of the build.
            The matrices are the same at all sizes, also where it is open.

    Returns:
        None where the map is not known.
    """
    if type(layer) in _MATRICES:
        return None, value[None]
    if type(layer) is layers.EinsumDense:
        blocks = _blocks(layer.equation, value)
        return None if blocks is None else (None, blocks)
    if type(layer) not in kernels.ALL_CONVOLUTIONS:
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


def _blocks(equation, kernel):
    """Returns the matrices of an EinsumDense layer: (blocks, inputs, outputs).

    Labels that input, kernel and output share count blocks, as the map is one
    for each. None for an equation where a label is summed over that inputs or
    kernel have alone, or stands twice in a term.
    """
    operands, outputs = equation.replace("...", "").split("->")
    strings = *operands.split(","), outputs
    terms = inputs, labels, outputs = [set(string) for string in strings]
    twice = sum(map(len, terms)) < sum(map(len, strings))
    if twice or (inputs ^ labels) - outputs:
        return None
    kinds = inputs & labels & outputs, labels - outputs, labels - inputs
    axes = [[*map(strings[1].index, sorted(kind))] for kind in kinds]
    shape = [math.prod(kernel.shape[axis] for axis in kind) for kind in axes]
    return np.transpose(kernel, [*itertools.chain(*axes)]).reshape(shape)
