"""Random numbers as functions of a seed, the same on every device.

TensorFlow draws other normal numbers from the same seed in a step compiled by
XLA. Its random bits agree, so the numbers here are made from these. A seed is
two integers.
"""

import tensorflow as tf

_ALGORITHM = "philox"  # By default TensorFlow chooses it by device.


def uniform(shape, seed):
    """Returns float32 numbers from [0, 1), multiples of 2^-24."""
    return tf.cast(_bits(shape, seed, 24), tf.float32) * 2.0**-24


def normal(shape, seed):
    """Returns float32 N(0, 1) numbers, by the inverse of their distribution."""
    bits = tf.cast(_bits(shape, seed, 23), tf.float32)
    return tf.math.ndtri((bits + 0.5) * 2.0**-23)


def integers(shape, seed, low, high):
    """Returns int32 numbers from low to high, both included."""
    numbers = uniform(shape, seed) * (high - low + 1)
    return low + tf.cast(tf.floor(numbers), tf.int32)


def fold_in(seed, *keys):
    """Returns the seed, `(2,)` int64, that belongs to these integers."""
    seed = tf.stack([tf.cast(seed, tf.int64), 0])
    for key in keys:
        seed = tf.random.experimental.stateless_fold_in(
            seed, tf.cast(key, tf.int64), alg=_ALGORITHM
        )
    return seed


def _bits(shape, seed, count):
    bits = tf.random.stateless_uniform(
        shape, seed, None, None, tf.int32, alg=_ALGORITHM
    )
    return tf.bitwise.bitwise_and(bits, 2**count - 1)
