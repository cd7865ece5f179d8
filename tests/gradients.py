"""Gradients on the running backend of Keras."""

import keras


def of(function, variables, compiled=False):
    """Calls a function once and differentiates what it returns.

    What it assigns to variables stays, as after any call.

    Args:
        function: `() -> scalar`, of the values that `variables` have.
        variables: `keras.Variable`s; for a gradient in inputs one of these.
        compiled: Whether XLA compiles it, which PyTorch has not.

    Returns:
        `(scalar, gradients)`, one gradient for each variable, as NumPy arrays.
    """
    gradients_of = _ON[keras.backend.backend()]
    loss, gradients = gradients_of(function, list(variables), compiled)
    convert = keras.ops.convert_to_numpy
    return convert(loss), [convert(gradient) for gradient in gradients]


def _on_tensorflow(function, variables, compiled):
    import tensorflow as tf

    def differentiate():
        with tf.GradientTape() as tape:
            loss = function()
        gradients = tape.gradient(loss, [v.value for v in variables])
        return loss, [tf.convert_to_tensor(gradient) for gradient in gradients]

    if compiled:
        differentiate = tf.function(differentiate, jit_compile=True)
    return differentiate()


def _on_torch(function, variables, compiled):
    import torch

    loss = function()
    return loss, torch.autograd.grad(loss, [v.value for v in variables])


def _on_jax(function, variables, compiled):
    import jax

    scopes = []

    def loss_of(values):
        with _Scope(zip(variables, values)) as scope:
            loss = function()
        scopes.append(scope)
        return loss, [scope.get_current_value(v) for v in scope.assigned]

    differentiate = jax.value_and_grad(loss_of, has_aux=True)
    if compiled:
        differentiate = jax.jit(differentiate)
    (loss, state), gradients = differentiate([v.value for v in variables])
    for variable, value in zip(scopes[-1].assigned, state):
        variable.assign(value)
    return loss, gradients


class _Scope(keras.StatelessScope):
    """Keeps what is assigned in it, and the variables."""

    def __init__(self, state_mapping):
        super().__init__(state_mapping, collect_losses=True)
        self.assigned = []

    def add_update(self, update):
        super().add_update(update)
        self.assigned.append(update[0])


_ON = {"tensorflow": _on_tensorflow, "torch": _on_torch, "jax": _on_jax}
