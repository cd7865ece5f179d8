"""Which variables of a Keras layer are kernels, and where their outputs lie.

Every reparametrisation of this package asks here, so that a new kind of layer
is taught in one place.
"""

import keras
from keras import layers

_DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
_SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)
_TRANSPOSED = (
    layers.Conv1DTranspose,
    layers.Conv2DTranspose,
    layers.Conv3DTranspose,
)


def _einsum_output_axes(equation):
    # A label that input, kernel and output share indexes outputs too.
    operands, output = equation.split("->")
    kernel = operands.split(",")[1]
    return tuple(i for i, label in enumerate(kernel) if label in output)


def _output_axes(layer):
    """Returns `{attribute: output axes}` of the kernels it may have itself."""
    if isinstance(layer, _DEPTHWISE):
        return {"kernel": (-2, -1)}
    if isinstance(layer, _SEPARABLE):
        return {"depthwise_kernel": (-2, -1), "pointwise_kernel": (-1,)}
    if isinstance(layer, _TRANSPOSED):
        return {"kernel": (-2,)}
    if isinstance(layer, layers.EinsumDense):
        return {"kernel": _einsum_output_axes(layer.equation)}
    if isinstance(layer, layers.Embedding):
        return {"embeddings": (0,)}
    # Dense, Conv and the cells of recurrent layers, custom ones included.
    return {"kernel": (-1,), "recurrent_kernel": (-1,)}


def sublayers(layer):
    """Returns the layer and all layers inside it, outermost first."""
    return list(layer._flatten_layers(include_self=True, recursive=True))


def find_kernels(layer):
    """Returns the kernels of a built layer and of the layers inside it.

    Returns:
        A list of `(variable, output_axes)`, each variable once. The matrix of
        a kernel is d_out x rest with d_out along `output_axes`: for Embedding
        it is classes x dim as the authors have it, for a transposed
        convolution the output axis is the last but one, for a depthwise one
        d_out is channels x multiplier.
    """
    found = {}
    for sublayer in sublayers(layer):
        for variable, output_axes in own_kernels(sublayer):
            found.setdefault(id(variable), (variable, output_axes))
    return list(found.values())


def own_kernels(layer):
    """Returns the kernels of a built layer without those of its sublayers."""
    found = [
        (getattr(layer, attribute, None), output_axes)
        for attribute, output_axes in _output_axes(layer).items()
    ]
    return [pair for pair in found if isinstance(pair[0], keras.Variable)]
