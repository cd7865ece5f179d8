"""Spectral norm of a matrix by power iteration (Algorithm 1, Miyato 2018).

Functions on `keras.ops` alone. A matrix `w` is `(d_out, rest)`, `u` is
`(d_out,)` and `v` is `(rest,)`; all are float32 unless the caller holds more.
"""

import contextlib
import threading

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
    d_out = 1
    for axis in output_axes:
        d_out *= kernel.shape[axis]
    kernel = ops.transpose(kernel, output_axes + other_axes)
    return ops.reshape(kernel, (d_out, -1))


def normalize(x):
    """Returns `x / |x|`, and zeros for a zero vector.

    The largest entry is divided out first, so that neither very small nor
    very large vectors under- or overflow when squared.
    """
    x = _scaled(x)
    norm = ops.sqrt(ops.sum(ops.square(x)))
    return x / ops.where(norm > 0, norm, ops.ones_like(norm))


def right_vector(w, u):
    """Returns `v = W^T u / |W^T u|`, shape `(rest,)`, without a gradient."""
    w, u = ops.stop_gradient(w), ops.stop_gradient(u)
    return normalize(ops.matmul(u, w))


def power_iteration(w, u, steps):
    """Advances `u` by `steps` iterations.

    A step that maps to zero (a zero matrix) leaves `u` as it was, so that a
    kernel which later grows from zero is still measured.

    Args:
        w: Matrix, `(d_out, rest)`.
        u: Unit vector, `(d_out,)`.
        steps: Number of iterations, a Python int of at least 1.

    Returns:
        `(u, v)` of the last step; both are constants for the gradient.
    """
    w, u = ops.stop_gradient(w), ops.stop_gradient(u)
    for _ in range(steps):
        v = right_vector(w, u)
        next_u = normalize(ops.matmul(w, v))
        u = ops.where(ops.any(next_u != 0), next_u, u)
    return u, v


def warm_start(w, u):
    """Returns `u` settled on `w` from the random vector `u`, `(d_out,)`.

    A matrix that maps it to zero leaves it as it was.
    """
    # With entries of at most 1 nothing here needs care for overflow, and what
    # underflows is far below the largest singular value.
    w = _scaled(ops.stop_gradient(w))
    start = normalize(u)
    if w.shape[0] <= _SQUARED_UP_TO:
        power = ops.matmul(w, ops.transpose(w))
        for _ in range(_WARM_START_SQUARINGS):
            power = _scaled(power)
            power = ops.matmul(power, power)
        settled = ops.matmul(power, start)
    else:
        settled = ops.fori_loop(
            0,
            2**_WARM_START_SQUARINGS,
            lambda _, u: _scaled(ops.matmul(w, ops.matmul(u, w))),
            start,
        )
    return ops.where(ops.any(settled != 0), normalize(settled), start)


def _scaled(x):
    """Returns x divided by its largest entry; zeros stay zeros."""
    largest = ops.max(ops.abs(x))
    return x / ops.where(largest > 0, largest, ops.ones_like(largest))


def sigma(w, u, v):
    """Returns `u^T W v`, a scalar whose gradient in W is `u v^T` (Eq. 9-12)."""
    return ops.sum(ops.stop_gradient(u) * ops.matmul(w, ops.stop_gradient(v)))
