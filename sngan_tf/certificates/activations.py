"""The Lipschitz constants of activation functions."""

import math

import keras
import numpy as np

# sup |f'|, rounded up where it is no simple number; of softmax that of the map
# of vectors. Keras's sparsemax is left out, as it jumps where entries tie.
_CONSTANTS = {
    "celu": 1.0,
    "elu": 1.0,
    "gelu": 1.128904145186,  # Phi(r) + r phi(r), r the root of 2.
    "hard_sigmoid": 1 / 6,
    "hard_silu": 1.5,
    "hard_tanh": 1.0,
    "leaky_relu": 1.0,
    "linear": 1.0,
    "log_sigmoid": 1.0,
    "mish": 1.0885,
    "relu": 1.0,
    "relu6": 1.0,
    "selu": 1.758099340848,
    "sigmoid": 0.25,
    "silu": 1.099839321,
    "soft_shrink": 1.0,
    "softmax": 0.5,
    "softplus": 1.0,
    "softsign": 1.0,
    "sparse_plus": 1.0,
    "sparse_sigmoid": 0.5,
    "squareplus": 1.0,
    "tanh": 1.0,
    "tanh_shrink": 1.0,
}
# Of `keras.ops.gelu`, by its tanh.
APPROXIMATE_GELU = 1.128993071


def constant(name):
    """Returns the Lipschitz constant of a function of Keras, None if unknown.

    At the function's default arguments. Of those that have none, such as
    `exponential`, none is known.

    Args:
        name: Of the function.
    """
    return _CONSTANTS.get(name)


def name_of(function):
    """Returns the name of an activation, None where it is not Keras's own."""
    function = function or keras.activations.linear
    module = getattr(function, "__module__", "") or ""
    return function.__name__ if module.startswith("keras.src.") else None


def leaky(slope):
    """Returns that of a function with slopes 1 and another, elementwise."""
    return float(np.maximum(1.0, np.abs(slope)))  # A nan stays.


def simple_recurrence(inputs, states, steps, every):
    """Returns that of h_t = f(W x_t + U h_(t-1)), of sequences to states.

    Args:
        inputs: Norm of W times the constant of f.
        states: Norm of U times the constant of f.
        steps: Length of the sequence.
        every: Whether all states come out, or the last alone.
    """
    weights = [inputs * states**t for t in range(steps)]
    if not every:
        return math.sqrt(sum(weight**2 for weight in weights))
    # The largest sum of a row or a column bounds the norm of the triangle.
    return sum(weights)


def of_class(name):
    """Returns the name of the function of an operation's class, or None."""
    return _OF_CLASSES.get(name.lower())


_OF_CLASSES = {name.replace("_", ""): name for name in _CONSTANTS}
