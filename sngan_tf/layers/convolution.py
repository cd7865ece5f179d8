"""The linear map of a convolution, between one example and another.

A convolution gathers for each output position the input positions under the
taps of its kernel, and multiplies them with one matrix for each group. Tables
of these positions hold stride, padding and dilation for any rank, and read
backwards they are those of the transpose, exactly.
"""

import math
from typing import NamedTuple

import numpy as np
from keras import ops

from sngan_tf.layers import kernels


class Axis(NamedTuple):
    """What a convolution does along one spatial axis.

    Attributes:
        kernel_size: Number of taps.
        input_size: Of the convolution.
        output_size: Of the convolution.
        stride: Of the convolution.
        dilation: Of the kernel.
        pad_before: Zeros before the first input position.
    """

    kernel_size: int
    input_size: int
    output_size: int
    stride: int
    dilation: int
    pad_before: int


class Convolution:
    """The map of a convolution, or of a transposed one, at one input size.

    Tensors of one example are `(positions, channels)`, whatever the layer's
    `data_format`. A transposed layer is the transpose of the convolution from
    its outputs to its inputs.

    Args:
        axes: An `Axis` for each spatial axis.
        groups: Number of groups of channels.
        depthwise: Whether the last but one axis of the kernel is groups.
        transposed: Whether the map is the transpose.

    Attributes:
        output_size: Spatial sizes of the layer's outputs.
        positions: Which input lies under each tap at each output position of
            the convolution: int32 `(output positions, taps)`; where it is
            padding, the number of input positions.
    """

    def __init__(self, axes, groups=1, depthwise=False, transposed=False):
        self.axes = tuple(axes)
        self.groups = groups
        self.depthwise = depthwise
        self.transposed = transposed
        self.output_size = tuple(
            axis.input_size if transposed else axis.output_size
            for axis in self.axes
        )
        self.positions = _gathered(self.axes)
        self._taps = self.positions.shape[1]
        self._scatter = _scattered(self.positions, self.input_positions)

    @property
    def input_positions(self):
        """The number of input positions of the convolution."""
        return math.prod(axis.input_size for axis in self.axes)

    def matrices(self, kernel):
        """Returns a kernel as `(groups, taps * channels_in, channels_out)`.

        Of each group; a channel in or out is one of the convolution, also of
        a transposed layer.
        """
        channels, filters = kernel.shape[-2:]
        if self.depthwise:
            kernel = ops.reshape(kernel, (self._taps, channels, filters))
            return ops.transpose(kernel, (1, 0, 2))
        if self.groups == 1:
            return ops.reshape(kernel, (1, self._taps * channels, filters))
        kernel = ops.reshape(
            kernel, (self._taps * channels, self.groups, filters // self.groups)
        )
        return ops.transpose(kernel, (1, 0, 2))

    def forward(self, matrices, x):
        """Returns the outputs of the layer for an input, without bias."""
        return (self._adjoint if self.transposed else self._forward)(
            matrices, x
        )

    def adjoint(self, matrices, y):
        """Returns the transpose of `forward` for an output."""
        return (self._forward if self.transposed else self._adjoint)(
            matrices, y
        )

    def slope(self, matrices, x, y):
        """Returns the gradient of `<y, forward(matrices, x)>` in matrices.

        That is the same for all matrices.
        """
        if self.transposed:
            x, y = y, x
        return ops.einsum("gpk,gpo->gko", self._patches(x), self._grouped(y))

    def _forward(self, matrices, x):
        y = ops.einsum("gpk,gko->gpo", self._patches(x), matrices)
        return self._ungrouped(y)

    def _adjoint(self, matrices, y):
        patches = ops.einsum("gpo,gko->gpk", self._grouped(y), matrices)
        groups, positions, size = patches.shape
        channels = size // self._taps
        patches = ops.reshape(
            patches, (groups, positions * self._taps, channels)
        )
        patches = self._ungrouped(patches)
        return ops.sum(_taken(patches, self._scatter), axis=1)

    def _patches(self, x):
        """Returns what lies under the kernel: (groups, positions, taps * c)."""
        patches = _taken(x, self.positions)
        positions, taps, channels = patches.shape
        shape = (positions, taps, self.groups, channels // self.groups)
        patches = ops.reshape(patches, shape)
        if self.groups > 1:
            patches = ops.transpose(patches, (2, 0, 1, 3))
        return ops.reshape(patches, (self.groups, positions, -1))

    def _grouped(self, x):
        positions, channels = x.shape
        if self.groups == 1:
            return ops.reshape(x, (1, positions, channels))
        shape = (positions, self.groups, channels // self.groups)
        return ops.transpose(ops.reshape(x, shape), (1, 0, 2))

    def _ungrouped(self, x):
        _, positions, channels = x.shape
        if self.groups > 1:
            x = ops.transpose(x, (1, 0, 2))
        return ops.reshape(x, (positions, self.groups * channels))


def of_kernel(layer, kernel, input_shape=None):
    """Returns the `Convolution` of a built layer's kernel.

    None for a kernel of another kind of layer, and for one of a single tap
    without groups, whose map is its matrix at each position.

    Args:
        layer: Keras layer that computes with the kernel itself.
        kernel: Variable of the layer.
        input_shape: Of a call, with batch axis, such as `(None, 32, 32, 3)`;
            None for that which the layer was built with.

    Raises:
        ValueError: If the input size isn't fixed.
    """
    depthwise = kernel is getattr(layer, "depthwise_kernel", None)
    if not kernels.is_convolution(layer) or not (
        depthwise or kernel is getattr(layer, "kernel", None)
    ):
        return None
    depthwise = depthwise or kernels.is_depthwise(layer)
    groups = kernel.shape[-2] if depthwise else getattr(layer, "groups", 1)
    kernel_size = tuple(kernel.shape[:-2])
    if math.prod(kernel_size) == 1 and groups == 1:
        return None
    input_size, output_size = _sizes(layer, input_shape or build_shape(layer))
    transposed = kernels.is_transposed(layer)
    if transposed:
        input_size, output_size = output_size, input_size
    axes = [
        Axis(*axis, _pad_before(layer.padding, *axis))
        for axis in zip(
            kernel_size,
            input_size,
            output_size,
            layer.strides,
            layer.dilation_rate,
        )
    ]
    return Convolution(axes, groups, depthwise, transposed)


def build_shape(layer):
    """Returns the shape of the inputs that a layer was built with."""
    return tuple(next(iter(layer._build_shapes_dict.values())))


def _sizes(layer, shape):
    """Returns the spatial sizes of a layer's inputs and of its outputs."""
    first = layer.data_format == "channels_first"

    def size(shape):
        return tuple(shape[2:] if first else shape[1:-1])

    if None in size(shape):
        raise ValueError(
            '`norm` "conv" needs a fixed input size: build the layer with one, '
            'as by Input((32, 32, 3)), or take norm="matrix". Received: '
            f"{layer.name} with inputs of shape {shape}"
        )
    return size(shape), size(layer.compute_output_shape((1, *shape[1:])))


def _pad_before(padding, kernel, inputs, outputs, stride, dilation):
    """Returns how many zeros stand before the first input along an axis."""
    reach = (kernel - 1) * dilation
    if padding == "causal":
        return reach
    if padding == "valid":
        return 0
    return max((outputs - 1) * stride + reach + 1 - inputs, 0) // 2


def _gathered(axes):
    """Returns the `positions` of a `Convolution`."""
    index = np.zeros((1, 1), np.int32)
    inside = np.ones((1, 1), bool)
    for axis in axes:
        size = axis.input_size
        first = np.arange(axis.output_size) * axis.stride - axis.pad_before
        at = first[:, None] + np.arange(axis.kernel_size) * axis.dilation
        index = _outer(index * size, at, np.add)
        inside = _outer(inside, (at >= 0) & (at < size), np.logical_and)
    padding = math.prod(axis.input_size for axis in axes)
    return np.where(inside, index, padding).astype(np.int32)


def _outer(table, other, combine):
    """Returns both tables combined, `(positions, taps)` of all their axes."""
    combined = combine(table[:, None, :, None], other[None, :, None, :])
    return combined.reshape(
        table.shape[0] * other.shape[0], table.shape[1] * other.shape[1]
    )


def _scattered(gathered, input_positions):
    """Returns in which entries of a `_gathered` table each input stands.

    Returns:
        Integers `(input positions, as many as the most have)`, filled up with
        the number of entries.
    """
    filling = gathered.size
    table = np.full((input_positions + 1, gathered.shape[1]), filling, np.int32)
    entries = np.arange(filling).reshape(gathered.shape)
    table[gathered, np.arange(gathered.shape[1])] = entries
    table = np.sort(table[:-1], axis=1)
    most = np.max(np.sum(table < filling, axis=1))
    return table[:, : max(most, 1)]


def _taken(x, table):
    """Returns the rows of x that a table names, zeros for what is past it."""
    return ops.take(ops.pad(x, ((0, 1), (0, 0))), table, axis=0)
