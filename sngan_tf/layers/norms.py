"""Norms of kernels, each followed by one persistent vector.

All have a `name` and a `shape`, those of the vector; `settle`, which fits it
to a kernel from a random one; `measure`, the `power_iteration.Sigma` of a
kernel by it; and `advance`, which returns the next vector and its `Sigma`.
All tensors are float32.
"""

import math
import typing
from typing import Literal

from keras import ops

from sngan_tf.layers import convolution as convolution_lib
from sngan_tf.layers import kernels
from sngan_tf.layers import power_iteration

Norm = Literal["matrix", "conv", "bidirectional"]
NORMS = typing.get_args(Norm)

# With momentum these steps leave Table 3's convolutions at 32 pixels less than
# 0.1 % below the truth; without, singular values lie too close for so few.
_SETTLING_STEPS = 80
_MOMENTUM = 0.99


def of_kernel(norm, layer, kernel, output_axes):
    """Returns the norms whose mean is the one that is named, a tuple.

    Args:
        norm: One of `NORMS`.
        layer: Built layer that computes with the kernel itself.
        kernel: Its variable.
        output_axes: Of the kernel.

    Raises:
        ValueError: On `"conv"` without a fixed input size.
    """
    matrix = MatrixNorm(kernel.shape, output_axes)
    if norm == "conv":
        convolution = convolution_lib.of_kernel(layer, kernel)
        if convolution is not None:
            filters = _channels_out(convolution, kernel)
            return (ConvolutionNorm(convolution, filters),)
    elif norm == "bidirectional" and kernels.is_convolution(layer):
        input_axes = (-1,) if kernels.is_transposed(layer) else (-2,)
        if not _coincide(kernel.shape, output_axes, input_axes):
            return matrix, MatrixNorm(kernel.shape, input_axes, name="u_in")
    return (matrix,)


def mean(sigmas):
    """Returns the `Sigma` of the mean of one or two."""
    if len(sigmas) == 1:
        return sigmas[0]
    is_zero = ops.logical_and(*(sigma.is_zero for sigma in sigmas))
    one = ops.ones_like(sigmas[0].scale)
    parts = [
        ops.where(sigma.is_zero, ops.zeros_like(one), sigma.scale / 2)
        for sigma in sigmas
    ]
    scale = ops.where(is_zero, one, sum(parts))
    ratio = sum(
        sigma.ratio * (part / scale) for sigma, part in zip(sigmas, parts)
    )
    return power_iteration.Sigma(scale, ops.where(is_zero, one, ratio), is_zero)


class MatrixNorm:
    """The spectral norm of a kernel that is read as a matrix.

    Args:
        kernel_shape: Of the kernel.
        axes: Of the kernel that count the rows.
        name: Of the vector.
    """

    def __init__(self, kernel_shape, axes, name="u"):
        self.name = name
        self.shape = (math.prod(kernel_shape[axis] for axis in axes),)
        self._axes = tuple(axes)
        self._map = power_iteration.Matrix(len(kernel_shape), axes)

    def settle(self, kernel, u):
        matrix = power_iteration.as_matrix(kernel, self._axes)
        return power_iteration.warm_start(matrix, u)

    def measure(self, kernel, u):
        return power_iteration.measure(kernel, u, self._map)

    def advance(self, kernel, u, steps):
        return power_iteration.advance(kernel, u, steps, self._map)


class ConvolutionNorm:
    """The operator norm of a convolution at its input size (footnote 3).

    Power iteration with the map and its transpose. The vector is a picture,
    `(*spatial, channels)` of the layer's outputs for one example.

    Args:
        convolution: `convolution.Convolution`.
        channels: Of the outputs.
    """

    name = "u"

    def __init__(self, convolution, channels):
        self.shape = (*convolution.output_size, channels)
        self._map = convolution

    def settle(self, kernel, u):
        matrices = self._map.matrices(ops.stop_gradient(kernel))
        # With entries of at most 1 nothing here needs care for overflow.
        matrices = matrices / power_iteration.largest(matrices)
        start = self._flat(u)
        start = start / ops.sqrt(ops.sum(ops.square(start)))

        def step(_, state):
            u, before = state
            x = self._map.adjoint(matrices, u)
            square = ops.sum(ops.square(x)) / ops.sum(ops.square(u))
            after = self._map.forward(matrices, x)
            # What is below 0.99 of the value so far gains nothing on average:
            # De Sa et al., 2018, of which the best momentum is unknown here.
            after = after - ops.square(_MOMENTUM * square / 2) * before
            scale = power_iteration.largest(after)
            # A zero kernel leaves what there was.
            moved = ops.max(ops.abs(after)) > 0
            return ops.where(moved, after / scale, u), u / scale

        settled, _ = ops.fori_loop(
            0, _SETTLING_STEPS, step, (start, ops.zeros_like(start))
        )
        length = ops.sqrt(ops.sum(ops.square(settled)))
        return ops.reshape(settled / length, self.shape)

    def measure(self, kernel, u):
        matrices = self._map.matrices(kernel)
        return power_iteration.measure(matrices, self._flat(u), self._map)

    def advance(self, kernel, u, steps):
        u, sigma = power_iteration.advance(
            self._map.matrices(kernel), self._flat(u), steps, self._map
        )
        return ops.reshape(u, self.shape), sigma

    def _flat(self, u):
        return ops.reshape(u, (-1, self.shape[-1]))


def _channels_out(convolution, kernel):
    if convolution.depthwise:
        return kernel.shape[-2] * kernel.shape[-1]
    return kernel.shape[-2 if convolution.transposed else -1]


def _coincide(shape, output_axes, input_axes):
    """Returns whether both sets of axes give one matrix, or its transpose."""
    wide = {axis for axis in range(-len(shape), 0) if shape[axis] > 1}
    rows = {axis for axis in wide if axis in _negative(output_axes, shape)}
    inputs = wide & _negative(input_axes, shape)
    return inputs in (rows, wide - rows)


def _negative(axes, shape):
    return {axis % len(shape) - len(shape) for axis in axes}
