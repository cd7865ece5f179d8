"""What the gradient does to the kernels that a discriminator holds (Eq. 12)."""

import typing

import tensorflow as tf

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
            what Appendix F puts in its place for others.
    """

    strength: tf.Tensor
    share: tf.Tensor


def measure(model, objective, scale=1.0):
    """Returns `{name: KernelGradient}` of each kernel that has a `u`.

    In inference: `u` is taken as it is, and no variable changes. Names are
    those of `spectral_estimates`. It can be compiled.

    Args:
        model: A built Keras model.
        objective: `() -> scalar`, of calls of the model with
            `training=False`.
        scale: Factor on it in what is differentiated, and out of what is
            returned.
    """
    variables = {
        kernel.name: kernel.variable for kernel in spectra.named_kernels(model)
    }
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch([variable.value for variable in variables.values()])
        sigmas = spectra.spectral_estimates(model)
    variables = {name: variables[name] for name in sigmas}
    # Each sigma is of one kernel, so that those of the sum are those of each.
    slopes = tape.gradient(
        [*sigmas.values()], [v.value for v in variables.values()]
    )

    in_effect = spectra.in_effect(model)
    kernels = [
        tf.convert_to_tensor(in_effect[id(variable)])
        for variable in variables.values()
    ]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(kernels)
        given = dict(zip(map(id, variables.values()), kernels))
        with substitution.given(given):
            value = objective() * scale
    gradients = tape.gradient(value, kernels, unconnected_gradients="zero")
    return {
        name: KernelGradient(
            tf.reduce_sum(g * kernel) / scale, _share(g, slope)
        )
        for name, g, kernel, slope in zip(variables, gradients, kernels, slopes)
    }


def _share(one, other):
    """Returns cos^2 of the angle between two tensors, 0 for a zero one."""
    one, other = _scaled(one), _scaled(other)
    squares = tf.reduce_sum(one * one) * tf.reduce_sum(other * other)
    product = tf.reduce_sum(one * other)
    return tf.math.divide_no_nan(product * product, squares)


def _scaled(x):
    # Squared as they are, small gradients leave float32.
    return tf.math.divide_no_nan(x, tf.reduce_max(tf.abs(x)))
