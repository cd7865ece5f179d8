"""Linear maps as matrices and gradients of layers, on any backend."""

import gradients
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
    _, (found,) = gradients.of(
        lambda: ops.sum(ops.sin(layer(inputs, **arguments))),
        layer.trainable_variables[:1],
    )
    return found


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
