"""Which variables of a Keras layer are kernels, and where their outputs lie.

Every reparametrisation of this package asks here, so that a new kind of layer
is taught in one place.
"""

import operator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import TypeAlias

import keras
from keras import layers

CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D)
DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)
TRANSPOSED = (
    layers.Conv1DTranspose,
    layers.Conv2DTranspose,
    layers.Conv3DTranspose,
)
ALL_CONVOLUTIONS = (*CONVOLUTIONS, *DEPTHWISE, *SEPARABLE, *TRANSPOSED)
# As a wrapper is given them.
OutputAxes: TypeAlias = Mapping[str, int | Sequence[int]]


def is_convolution(layer):
    """Returns whether a layer convolves with kernels of its own."""
    return isinstance(layer, ALL_CONVOLUTIONS)


def is_depthwise(layer):
    """Returns whether the kernel of a layer is one for each channel."""
    return isinstance(layer, DEPTHWISE)


def is_transposed(layer):
    """Returns whether a layer is a transposed convolution."""
    return isinstance(layer, TRANSPOSED)


def _einsum_output_axes(equation):
    # A label that input, kernel and output share indexes outputs too.
    operands, output = equation.split("->")
    kernel = operands.split(",")[1]
    return tuple(i for i, label in enumerate(kernel) if label in output)


def _output_axes(layer):
    """Returns `{attribute: output axes}` of the kernels it may have itself."""
    if isinstance(layer, layers.SpectralNormalization):
        return {}  # Keras's; its `kernel` is that of the layer inside.
    if isinstance(layer, DEPTHWISE):
        return {"kernel": (-2, -1)}
    if isinstance(layer, SEPARABLE):
        return {"depthwise_kernel": (-2, -1), "pointwise_kernel": (-1,)}
    if isinstance(layer, TRANSPOSED):
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


def find_kernels(layer, output_axes=None):
    """Returns the kernels of a built layer and of the layers inside it.

    Args:
        layer: Any Keras layer.
        output_axes: `{attribute: axes}` of a custom layer, as
            `checked_output_axes` returns it: its kernels are these attributes,
            and no others. None finds those of the layers that Keras has.

    Returns:
        A list of `(variable, output_axes)`, each variable once. The matrix of
        a kernel is d_out x rest with d_out along `output_axes`: for Embedding
        it is classes x dim as the authors have it, for a transposed
        convolution the output axis is the last but one, for a depthwise one
        d_out is channels x multiplier.
    """
    found = {}
    for sublayer in sublayers(layer):
        for variable, axes in own_kernels(sublayer, output_axes):
            found.setdefault(id(variable), (variable, axes))
    return list(found.values())


def holders(layer, output_axes=None):
    """Returns the layers that hold the kernels of `find_kernels` themselves.

    Of a kernel that several share, the first.
    """
    found = {}
    for sublayer in sublayers(layer):
        for variable, _ in own_kernels(sublayer, output_axes):
            found.setdefault(id(variable), sublayer)
    return list(found.values())


def own_kernels(layer, output_axes=None):
    """Returns the kernels of a built layer without those of its sublayers."""
    if output_axes is None:
        output_axes = _output_axes(layer)
    found = [
        (getattr(layer, attribute, None), axes)
        for attribute, axes in output_axes.items()
    ]
    return [pair for pair in found if isinstance(pair[0], keras.Variable)]


def checked_output_axes(output_axes):
    """Returns `{attribute: tuple of axes}`; None for None.

    Args:
        output_axes: `{attribute: axis or axes}`.

    Raises:
        ValueError: If it is none.
    """
    if output_axes is None:
        return None
    try:
        checked = {
            attribute: tuple(map(operator.index, _as_list(axes)))
            for attribute, axes in output_axes.items()
        }
        if not checked or not all(checked.values()):
            raise TypeError
        if not all(isinstance(attribute, str) for attribute in checked):
            raise TypeError
    except (AttributeError, TypeError) as error:
        raise ValueError(
            "`output_axes` must be a dict of attributes to an axis or axes, "
            'such as {"weight": -1}. '
            f"Received: output_axes={output_axes!r}"
        ) from error
    return checked


def check_axes(variable, axes):
    """Raises a ValueError unless a kernel has these output axes."""
    rank = len(variable.shape)
    inside = [axis % rank for axis in axes if -rank <= axis < rank]
    if len(set(inside)) < len(axes):
        raise ValueError(
            "`output_axes` must be different axes of the kernel. Received: "
            f"{axes} for {variable.path} of shape {tuple(variable.shape)}"
        )


def _as_list(axes):
    return axes if isinstance(axes, (list, tuple)) else [axes]
