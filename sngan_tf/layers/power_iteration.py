"""Spectral norm of a kernel by power iteration (Algorithm 1, Miyato 2018).

Functions on `keras.ops` alone. A kernel `w` of any rank is the matrix
`(d_out, rest)` whose rows are counted by its `output_axes`, and `u` is
`(d_out,)`; or it is any other linear map, with the methods of `Matrix`. All are
float32 unless the caller holds more.
"""

import contextlib
import dataclasses
import math
import string
import threading
from typing import Any

from keras import ops

# Whatever the spectrum, 128 steps from a random start leave the estimate less
# than about log(d_out) / 500 below the truth.
_WARM_START_SQUARINGS = 7
# Up to this d_out, squaring W W^T is quicker than as many single steps.
_SQUARED_UP_TO = 512
# Of a thread, as each replica of a step is traced in its own.
_STATE = threading.local()


@contextlib.contextmanager
def paused():
    """A context in which training calls take `u` as it is."""
    before = is_paused()
    _STATE.paused = True
    try:
        yield
    finally:
        _STATE.paused = before


def is_paused():
    """Returns whether training calls take `u` as it is."""
    return getattr(_STATE, "paused", False)


@dataclasses.dataclass(frozen=True)
class Sigma:
    """An estimate of sigma(W), as a product.

    The two factors keep squares, and gradients of reciprocals, inside float32
    wherever sigma itself is.

    Attributes:
        scale: Positive and constant, of about the size of sigma.
        ratio: The rest, about 1, with the gradient of Eq. 9-12.
        is_zero: Whether the kernel is zero; its factors are 1.
    """

    scale: Any
    ratio: Any
    is_zero: Any

    @property
    def value(self):
        sigma = self.scale * self.ratio
        return ops.where(self.is_zero, ops.zeros_like(sigma), sigma)

    @property
    def inverse(self):
        """1 / sigma, and 1 for a zero kernel."""
        # In this order TensorFlow takes no gradient in the constant.
        return ops.reciprocal(self.ratio) * ops.reciprocal(self.scale)


def as_matrix(kernel, output_axes):
    """Reshapes a kernel of any rank to `(d_out, rest)` (section 4).

    Args:
        kernel: Tensor of any rank.
        output_axes: Tuple of the axes, negative or not, that index the
            layer's outputs; d_out is the product of their lengths.
    """
    rank = len(kernel.shape)
    output_axes = [axis % rank for axis in output_axes]
    other_axes = [axis for axis in range(rank) if axis not in output_axes]
    d_out = math.prod(kernel.shape[axis] for axis in output_axes)
    kernel = ops.transpose(kernel, output_axes + other_axes)
    return ops.reshape(kernel, (d_out, -1))


class Matrix:
    """A kernel as the matrix whose rows its `output_axes` count.

    A linear map, as `measure` and `advance` take them: W v, W^T u, and the
    gradient of u^T W v in W. Each vector has the shape of its axes, but `u` is
    `(d_out,)`. Einsum reads a kernel as it lies; to be a matrix it would first
    be transposed.

    Args:
        rank: Of the kernel.
        output_axes: Tuple of axes, negative or not.
    """

    def __init__(self, rank=2, output_axes=(0,)):
        kernel = string.ascii_lowercase[:rank]
        outputs = "".join(kernel[axis] for axis in output_axes)
        rest = "".join(axis for axis in kernel if axis not in outputs)
        self._axes = tuple(output_axes)
        self._forward = f"{kernel},{rest}->{outputs}"
        self._adjoint = f"{kernel},{outputs}->{rest}"
        self._slope = f"{rest},{outputs}->{kernel}"

    def forward(self, w, v):
        u = ops.einsum(self._forward, w, v)
        return ops.reshape(u, (-1,)) if len(self._axes) > 1 else u

    def adjoint(self, w, u):
        return ops.einsum(self._adjoint, w, self._shaped(u, w.shape))

    def slope(self, w, v, u):
        return ops.einsum(self._slope, v, self._shaped(u, w.shape))

    def _shaped(self, u, shape):
        if len(self._axes) == 1:
            return u
        return ops.reshape(u, [shape[axis] for axis in self._axes])


def measure(w, u, linear_map):
    """Returns the `Sigma` of `u` as it is: |W^T u|.

    That is u^T W v with v = W^T u / |W^T u|, and has the same gradient.

    Args:
        w: Kernel, as the map has it.
        u: Vector of length 1, in the shape of the map's outputs.
        linear_map: `Matrix`, or another with its methods.
    """
    x = linear_map.adjoint(w, u)
    scale, is_zero = _scale(ops.stop_gradient(x))
    x = x / scale
    # Of a zero kernel 1, whose slope as a root is finite.
    square = ops.where(is_zero, ops.ones_like(scale), _dot(x, x))
    return Sigma(scale, ops.sqrt(square), is_zero)


def advance(w, u, steps, linear_map):
    """Advances `u` by `steps` iterations.

    A step that maps to zero (a zero kernel) leaves `u` as it was, so that a
    kernel which later grows from zero is still measured.

    Args:
        w: As of `measure`.
        u: As of `measure`.
        steps: Number of iterations, a Python int of at least 1.
        linear_map: As of `measure`.

    Returns:
        `(u, sigma)`: the new u, and the `Sigma` u^T W v of the last step, in
        which u and v are constants for the gradient.
    """
    constant = ops.stop_gradient(w)
    for _ in range(steps):
        x = linear_map.adjoint(constant, u)
        scale, is_zero = _scale(x)
        x = x / scale
        v = ops.divide_no_nan(x, ops.sqrt(_dot(x, x)))
        # Not shorter than W^T u, so that this can be squared too.
        u = ops.where(is_zero, u, linear_map.forward(constant, v) / scale)
        length = ops.sqrt(_dot(u, u))  # u^T W v / scale of the u that follows.
        u = u / length
    ratio = _known(
        w, length, lambda slope: linear_map.slope(w, v * (slope / scale), u)
    )
    return u, Sigma(scale, ratio, is_zero)


def warm_start(w, u):
    """Returns `u` settled from the random vector `u`, `(d_out,)`.

    Args:
        w: Matrix, `(d_out, rest)`; one that maps `u` to zero leaves it as it
            was.
        u: Vector, not zero.
    """
    # With entries of at most 1 nothing here needs care for overflow, and what
    # underflows is far below the largest singular value.
    w = _largest_1(ops.stop_gradient(w))
    start = _largest_1(u)
    start = start / ops.sqrt(_dot(start, start))
    if w.shape[0] <= _SQUARED_UP_TO:
        power = ops.matmul(w, ops.transpose(w))
        for _ in range(_WARM_START_SQUARINGS):
            power = _largest_1(power)
            power = ops.matmul(power, power)
        settled = ops.matmul(power, start)
    else:
        settled = ops.fori_loop(
            0,
            2**_WARM_START_SQUARINGS,
            lambda _, u: _largest_1(ops.matmul(w, ops.matmul(u, w))),
            start,
        )
    settled = _largest_1(settled)
    length = ops.sqrt(_dot(settled, settled))
    return ops.where(length > 0, settled / ops.maximum(length, 1.0), start)


def _known(w, value, gradient):
    """Returns `value` with a gradient in W.

    To compute it again, differentiably, would give the same of both.

    Args:
        w: Kernel.
        value: Scalar, computed without a gradient.
        gradient: Function of the slope of what follows to that in W.
    """

    @ops.custom_gradient
    def known(w):
        def backward(*args, upstream=None):
            # PyTorch hands on the inputs, and this by its name.
            return gradient(args[0] if upstream is None else upstream)

        return value, backward

    return known(w)


def _dot(x, y):
    axes = string.ascii_lowercase[: len(x.shape)]
    return ops.einsum(f"{axes},{axes}->", x, y)


def _scale(x):
    """Returns a scale of x, and whether x is zero.

    The scale, a sum of absolute values, is 1 for zeros. What is divided by it
    can be squared without overflow, and keeps its digits.
    """
    scale = _dot(x, ops.sign(x))
    is_zero = ops.equal(scale, 0.0)
    return ops.where(is_zero, ops.ones_like(scale), scale), is_zero


def largest(x):
    """Returns the largest absolute entry of x, and 1 for zeros."""
    largest = ops.max(ops.abs(x))
    return ops.where(largest > 0, largest, ops.ones_like(largest))


def _largest_1(x):
    """Returns x divided by its largest entry; zeros stay zeros."""
    return x / largest(x)
