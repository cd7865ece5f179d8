"""tf.distribute strategies by name, and the arithmetic of batches."""

import functools

import tensorflow as tf

DISTRIBUTIONS = ("auto", "one_device", "mirrored")


def check(name):
    """Raises a ValueError unless there is a strategy of that name."""
    if name not in DISTRIBUTIONS:
        raise ValueError(
            f"`distribution` must be one of {', '.join(DISTRIBUTIONS)}. "
            f"Received: distribution={name}"
        )


def strategy(name):
    """Returns the `tf.distribute.Strategy` of that name.

    Args:
        name: `"one_device"`; `"mirrored"`, all GPUs or else all logical CPUs
            of this host; `"auto"`, mirrored where there are several GPUs.

    Raises:
        ValueError: If there is none.
    """
    check(name)
    gpus = tf.config.list_logical_devices("GPU")
    if name == "one_device" or (name == "auto" and len(gpus) < 2):
        return tf.distribute.get_strategy()
    devices = gpus or tf.config.list_logical_devices("CPU")
    return _mirrored(tuple(device.name for device in devices))


@functools.cache
def _mirrored(devices):
    # Each strategy numbers its collectives from the same start, so a second
    # one on the same devices would be taken for the first.
    return tf.distribute.MirroredStrategy(devices)


def check_batch_size(field, batch_size, replicas):
    """Raises a ValueError unless the replicas can share the batch equally."""
    if batch_size % replicas:
        raise ValueError(
            f"`{field}` must be divisible by the number of replicas. "
            f"Received: {field}={batch_size}, {replicas} replicas"
        )
