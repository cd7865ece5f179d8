"""Linear maps as matrices and gradients of layers, on any backend."""

import keras
import numpy as np
from keras import ops


def matrix(layer, shape):
    """Returns the matrix `(inputs, outputs)` of a layer without its bias.

    Args:
        layer: A built Keras layer.
        shape: Of one example.
    """
    size = int(np.prod(shape))
    basis = np.eye(size, dtype="float32").reshape(size, *shape)
    outputs = ops.convert_to_numpy(layer(basis))
    zeros = ops.convert_to_numpy(layer(np.zeros((1, *shape), "float32")))
    return (outputs - zeros).reshape(size, -1).astype("float64")


def norm(layer, shape):
    """Returns the largest singular value of a layer without its bias."""
    return np.linalg.norm(matrix(layer, shape), 2)


def of_each_entry(layer, kernel, shape):
    """Returns the matrices of a layer for 1 in each entry of a kernel alone.

    Returns:
        `(*kernel shape, inputs, outputs)`: the matrix of a kernel is their
        sum, each times its entry.
    """
    before = ops.convert_to_numpy(kernel)
    found = []
    for index in range(before.size):
        entry = np.zeros(before.size, "float32")
        entry[index] = 1
        kernel.assign(entry.reshape(before.shape))
        found.append(matrix(layer, shape))
    kernel.assign(before)
    return np.reshape(found, (*before.shape, *found[0].shape))


def gradient(layer, inputs, **arguments):
    """Returns that of sum(sin(outputs)) in the first trainable variable."""
    if keras.backend.backend() == "jax":
        return _gradient_on_jax(layer, inputs, arguments)
    kernel = layer.trainable_variables[0].value
    if keras.backend.backend() == "torch":
        layer.zero_grad()
        ops.sum(ops.sin(layer(inputs, **arguments))).backward()
        found = kernel.grad
    else:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            loss = ops.sum(ops.sin(layer(inputs, **arguments)))
        found = tape.gradient(loss, kernel)
    return ops.convert_to_numpy(found)


def _gradient_on_jax(layer, inputs, arguments):
    import jax

    def loss(trainable, state):
        outputs, _ = layer.stateless_call(trainable, state, inputs, **arguments)
        return ops.sum(ops.sin(outputs))

    gradients = jax.jit(jax.grad(loss))(
        [variable.value for variable in layer.trainable_variables],
        [variable.value for variable in layer.non_trainable_variables],
    )
    return np.array(gradients[0])


def differences(function, kernel, step=1e-5):
    """Returns the central differences of a function in float64."""
    kernel = np.asarray(kernel, "float64")
    found = np.zeros_like(kernel)
    for index in np.ndindex(*kernel.shape):
        moved = np.zeros_like(kernel)
        moved[index] = step
        change = function(kernel + moved) - function(kernel - moved)
        found[index] = change / (2 * step)
    return found
