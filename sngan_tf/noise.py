"""Random numbers as functions of a seed, the same on every device.

TensorFlow draws other normal numbers from the same seed in a step compiled by
XLA. Its random bits agree, so the numbers here are made from these. A seed is
two integers.

What belongs to one seed is an endless list of rows, the first axis of `shape`.
In a step of a `tf.distribute` strategy each replica draws rows of its own, so
that all replicas together draw what one does alone; `first_row` chooses rows
otherwise.
"""

import math

import numpy as np
import tensorflow as tf

_PHILOX = 1
# Counters of seeds, far from those of rows.
_FOLDS = np.int64(-(2**63))
_GROUP = 4  # Numbers that Philox draws for each value of its counter.


def uniform(shape, seed, first_row=None):
    """Returns float32 numbers from [0, 1), multiples of 2^-24."""
    return tf.cast(_bits(shape, seed, 24, first_row), tf.float32) * 2.0**-24


def normal(shape, seed, first_row=None):
    """Returns float32 N(0, 1) numbers, by the inverse of their distribution."""
    bits = tf.cast(_bits(shape, seed, 23, first_row), tf.float32)
    return tf.math.ndtri((bits + 0.5) * 2.0**-23)


def integers(shape, seed, low, high, first_row=None):
    """Returns int32 numbers from low to high, both included."""
    numbers = uniform(shape, seed, first_row) * (high - low + 1)
    return low + tf.cast(tf.floor(numbers), tf.int32)


def fold_in(seed, *keys):
    """Returns the seed, `(2,)` int64, that belongs to these integers."""
    seed = tf.stack([tf.cast(seed, tf.int64), 0])
    for key in keys:
        skipped = tf.bitwise.bitwise_xor(tf.cast(key, tf.int64), _FOLDS)
        seed = _philox((2,), seed, skipped, tf.int64)
    return seed


def _bits(shape, seed, count, first_row):
    rows, *row_shape = shape
    row_size = math.prod(row_shape)
    groups = -(-row_size // _GROUP)  # Each row begins with a group.
    if first_row is None:
        first_row = _first_row_of_replica(rows)
    skipped = tf.cast(first_row, tf.int64) * groups
    bits = _philox((rows, groups * _GROUP), seed, skipped, tf.int32)
    bits = tf.reshape(bits[:, :row_size], (rows, *row_shape))
    return tf.bitwise.bitwise_and(bits, 2**count - 1)


def _philox(shape, seed, skipped, dtype):
    """Returns all bits of the stream of a seed, after the skipped groups."""
    key, stream = tf.unstack(tf.cast(seed, tf.uint64))
    return tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=shape,
        key=tf.stack([key]),
        counter=tf.stack([tf.cast(skipped, tf.uint64), stream]),
        alg=_PHILOX,
        dtype=dtype,
    )


def _first_row_of_replica(rows):
    context = tf.distribute.get_replica_context()
    # Outside a step there are no replicas.
    replica = context.replica_id_in_sync_group if context else 0
    return tf.cast(replica, tf.int64) * tf.cast(rows, tf.int64)
