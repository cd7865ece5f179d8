"""Counts the arithmetic of a training step, from the networks' own shapes.

A multiply-add is two operations. Convolutions and dense layers alone count, as
if no input were padding; biases, activations, normalizations, optimizers and
what a gradient penalty adds don't.
"""

import dataclasses
import math

import keras
from keras import layers


@dataclasses.dataclass(frozen=True)
class Pass:
    """Operations of a network, for one image.

    Attributes:
        forward: Of a call.
        backward_to_weights: Of the gradients of all weights.
        backward_to_inputs: Of the gradients of the network's inputs alone.
    """

    forward: int
    backward_to_weights: int
    backward_to_inputs: int


def network(model):
    """Returns the `Pass` of a Functional model.

    Args:
        model: Its normalised layers may be wrappers that hold the layer.
    """
    forward = to_weights = 0
    depends = set()  # Tensors that a weight has a part in.
    for operation in model.operations:
        inputs = _tensors(operation, "input")
        needed = any(id(x) in depends for x in inputs)
        if needed or getattr(operation, "trainable_weights", ()):
            depends.update(id(x) for x in _tensors(operation, "output"))
        flop = layer(operation)
        forward += flop
        # Of the kernel, and of what comes in where that is not data.
        to_weights += flop * (1 + needed)
    return Pass(forward, to_weights, forward)


def layer(operation):
    """Returns the operations that a layer's call takes for one image.

    Args:
        operation: A called layer, or a wrapper of one; 0 for those that
            neither convolve nor are dense.
    """
    called = operation
    while isinstance(called, layers.Wrapper):
        called = called.layer
    if isinstance(called, layers.Conv2DTranspose):
        positions = operation.input.shape[1:3]  # Each is spread by the kernel.
    elif isinstance(called, layers.Conv2D):
        positions = operation.output.shape[1:3]
    elif isinstance(called, layers.Dense):
        positions = ()
    else:
        return 0
    return 2 * math.prod(positions) * math.prod(called.kernel.shape)


def step(generator, discriminator, batch, steps=1, generator_batch=None):
    """Returns the operations of a `GAN`'s step.

    A discriminator update is a generator's forward pass of `batch` images and
    forward and backward passes of twice as many; a generator update both
    passes of both networks, that of the discriminator back to its inputs.

    Args:
        generator: Functional model.
        discriminator: The same.
        batch: Real images of a discriminator update.
        steps: Discriminator updates.
        generator_batch: Fake images of the generator update; None for `batch`.
    """
    g, d = network(generator), network(discriminator)
    d_update = batch * (g.forward + 2 * (d.forward + d.backward_to_weights))
    g_update = (generator_batch or batch) * (
        g.forward + g.backward_to_weights + d.forward + d.backward_to_inputs
    )
    return steps * d_update + g_update


def _tensors(operation, which):
    if isinstance(operation, layers.InputLayer) and which == "input":
        return []
    return keras.tree.flatten(getattr(operation, which))
