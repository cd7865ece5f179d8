"""How the two networks are called: with what, and what a call changes.

Dropout and the like draw from Keras's seed generators. Here their states are
functions of a seed, other ones on each replica, so that a step that is done
again draws the same.
"""

import dataclasses

import keras
import tensorflow as tf

from sngan_tf.layers import power_iteration


@dataclasses.dataclass(frozen=True)
class Signature:
    """What a network takes and makes.

    Attributes:
        inputs: Shape of each input, without the batch.
        outputs: Shape of each output, without the batch.
    """

    inputs: tuple
    outputs: tuple


def signature(network, name):
    """Returns the `Signature` of a built Keras model, subclassed or not.

    Args:
        network: The model. A subclassed one takes its inputs as one argument.
        name: Argument that it is, for the error.

    Raises:
        ValueError: If it is not built, or was built by other arguments.
    """
    if getattr(network, "inputs", None):
        return Signature(_shapes(network.inputs), _shapes(network.outputs))
    config = network.get_build_config() if network.built else None
    shapes = (config or {}).get("input_shape")
    if not shapes:
        raise ValueError(
            f"`{name}` must be a model that is built, such as by a call on "
            "inputs given as one argument. Received: "
            f"{name}={type(network).__name__} '{network.name}'"
        )
    if not isinstance(shapes[0], (list, tuple)):
        shapes = [shapes]
    # Labels come second and are the only integers.
    inputs = [
        keras.KerasTensor((None, *shape[1:]), dtype="int32" if i else "float32")
        for i, shape in enumerate(shapes)
    ]
    outputs = network.compute_output_spec(
        inputs if len(inputs) > 1 else inputs[0]
    )
    return Signature(_shapes(inputs), _shapes(keras.tree.flatten(outputs)))


def training(network, inputs, seed):
    """Calls a network in training; it keeps `u` and running statistics.

    Args:
        network: Keras model.
        inputs: A tensor or a list of these.
        seed: Function of integers to the seed, `(2,)`, that they belong to.
    """
    for state, value in _noise(network, seed):
        state.assign(value)
    return network(inputs, training=True)


def unchanged(network, inputs, seed):
    """Calls a network as in training, but takes `u` as it is, keeps nothing.

    Args:
        network: Keras model.
        inputs: A tensor or a list of these.
        seed: As of `training`.
    """
    noise = {id(state): value for state, value in _noise(network, seed)}
    with power_iteration.paused():
        outputs, _ = network.stateless_call(
            [v.value for v in network.trainable_variables],
            [
                noise.get(id(v), v.value)
                for v in network.non_trainable_variables
            ],
            inputs,
            training=True,
        )
    return outputs


def _noise(network, seed):
    """Yields the states of seed generators, and what they are for a seed."""
    weights = {id(weight) for weight in network.non_trainable_weights}
    context = tf.distribute.get_replica_context()
    replica = context.replica_id_in_sync_group if context else 0
    for i, state in enumerate(network.non_trainable_variables):
        if id(state) not in weights:
            yield state, tf.cast(seed(replica, i), state.dtype)


def _shapes(tensors):
    return tuple(tuple(tensor.shape[1:]) for tensor in tensors)
