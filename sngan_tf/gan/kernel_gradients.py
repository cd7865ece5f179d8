"""What the gradient does to the kernels that a discriminator holds (Eq. 12)."""

import typing

import tensorflow as tf

from sngan_tf.layers import power_iteration
from sngan_tf.layers import spectra
from sngan_tf.layers import substitution


class KernelGradient(typing.NamedTuple):
    """The gradient of an objective V in one kernel in effect, W_bar.

    With G = dV/dW_bar and D = d sigma/dW; for W_bar = W / sigma the gradient
    in W is (G - lambda D) / sigma. Both attributes are float32 scalars.

    Attributes:
        strength: lambda = <G, W_bar>: positive where V would rise with a
            larger kernel.
        share: Of the squared norm of G, how much lies along D, in [0, 1];
            0 where either is zero. D is u v^T for the norm of the matrix, and
            what Appendix F puts in its place for others. Of a kernel without
            a `u` it is that of the first singular vectors of W_bar.
    """

    strength: tf.Tensor
    share: tf.Tensor


def measure(model, objective, scale=1.0):
    """Returns `{name: KernelGradient}` of each kernel.

    In inference: `u` is taken as it is, and no variable changes. It can be
    compiled.

    Args:
        model: A built Keras model.
        objective: `() -> scalar`, of calls of the model with
            `training=False`.
        scale: Factor on it in what is differentiated, and out of what is
            returned.

    Returns:
        Names and order as of `spectral_norms`.
    """
    named = spectra.named_kernels(model)
    in_effect = spectra.in_effect(model)
    kernels = [_float32(in_effect[id(kernel.variable)]) for kernel in named]
    variables = [kernel.variable for kernel in named]

    def scaled_objective():
        with substitution.given(dict(zip(map(id, variables), kernels))):
            return objective() * scale

    gradients = _slopes(scaled_objective, variables, kernels)
    # Each norm is of one kernel, so that the slopes of all together are those
    # of each.
    directions = _slopes(
        lambda: _norms(model, named, kernels), variables, kernels
    )
    return {
        kernel.name: KernelGradient(
            tf.reduce_sum(g * value) / scale, _share(g, d)
        )
        for kernel, value, g, d in zip(named, kernels, gradients, directions)
    }


def _norms(model, named, kernels):
    """Returns sigma of each kernel: by its `u`, else of that in effect."""
    estimates = spectra.spectral_estimates(model)
    without = [
        _norm(value, kernel.output_axes)
        for kernel, value in zip(named, kernels)
        if kernel.name not in estimates
    ]
    return [*estimates.values(), *without]


def _norm(kernel, output_axes):
    """Returns the largest singular value, whose slope is u v^T."""
    # In float64 the small Gram matrix is as good as an SVD, and cheaper.
    matrix = power_iteration.as_matrix(
        tf.cast(tf.stop_gradient(kernel), tf.float64), output_axes
    )
    squared = tf.matmul(matrix, matrix, transpose_b=True)
    # Of what is not finite it raises, before the training says so.
    finite = tf.where(tf.math.is_finite(squared), squared, 0.0)
    _, vectors = tf.linalg.eigh(finite)
    linear_map = power_iteration.Matrix(len(kernel.shape), output_axes)
    u = _float32(vectors[:, -1])
    return power_iteration.measure(kernel, u, linear_map).value


def _slopes(function, variables, kernels):
    """Returns the gradient of a function's value in each kernel, float32."""
    variables = [variable.value for variable in variables]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch([variables, kernels])
        value = function()
    # What is computed with is one of the two; the gradient in the other is 0.
    both = tape.gradient(
        value, [variables, kernels], unconnected_gradients="zero"
    )
    return [_float32(one) + _float32(other) for one, other in zip(*both)]


def _float32(x):
    # Gradients in embeddings are slices.
    return tf.cast(tf.convert_to_tensor(x), tf.float32)


def _share(one, other):
    """Returns cos^2 of the angle between two tensors, 0 for a zero one."""
    one, other = _scaled(one), _scaled(other)
    squares = tf.reduce_sum(one * one) * tf.reduce_sum(other * other)
    product = tf.reduce_sum(one * other)
    return tf.math.divide_no_nan(product * product, squares)


def _scaled(x):
    # Squared as they are, small gradients leave float32.
    return tf.math.divide_no_nan(x, tf.reduce_max(tf.abs(x)))
