"""The tf.data pipeline that trains on pictures."""

import numpy as np
import tensorflow as tf

from sngan_tf import images as images_lib
from sngan_tf.errors import UserError


def training_batches(pictures, batch_size, seed, start=0, with_labels=False):
    """Endless float32 batches in [-1, 1), a function of seed and position.

    Every epoch is a new permutation of all pictures. Batch k is the same
    wherever the iteration starts, so a run continues where it stopped.

    Args:
        pictures: `Pictures`, at least one batch of them.
        batch_size: Pictures in a batch.
        seed: Integer that the order and the dequantisation noise depend on.
        start: Index of the first batch.
        with_labels: Whether each batch is a pair of pictures and labels.

    Returns:
        A `tf.data.Dataset` of `(batch_size, size, size, channels)`, with
        labels of pairs of these and int32 `(batch_size,)`.

    Raises:
        UserError: If a batch is larger than the data.
    """
    count = len(pictures)
    if batch_size > count:
        raise UserError(
            "A batch must not be larger than the data. Received: "
            f"{batch_size} pictures a batch, {count} in {pictures.reference}"
        )

    pictures_at = _gatherer(pictures.images)
    labels = tf.constant(pictures.labels) if with_labels else None
    seed = tf.constant(seed, tf.int64)

    def rows_of(epoch, positions):
        return tf.random.experimental.index_shuffle(
            positions, tf.stack([seed, epoch]), tf.constant(count - 1, tf.int64)
        )

    def batch(index):
        positions = index * batch_size + tf.range(batch_size, dtype=tf.int64)
        epochs, positions = positions // count, positions % count
        # A batch is no larger than the data, so two epochs at most share it.
        rows = tf.where(
            epochs == epochs[0],
            rows_of(epochs[0], positions),
            rows_of(epochs[0] + 1, positions),
        )
        images = images_lib.dequantize(
            pictures_at(rows), tf.stack([seed, index])
        )
        return (images, tf.gather(labels, rows)) if with_labels else images

    indices = tf.data.Dataset.range(start, tf.int64.max)
    return indices.map(batch, num_parallel_calls=tf.data.AUTOTUNE).prefetch(
        tf.data.AUTOTUNE
    )


def _gatherer(images):
    """Returns a function of row numbers to their pictures, as a tensor."""
    if not isinstance(images, np.memmap):
        # A tensor is captured by the pipeline, an array would be copied.
        images = tf.constant(images)
        return lambda rows: tf.gather(images, rows)

    def read(rows):
        batch = tf.numpy_function(lambda rows: images[rows], [rows], tf.uint8)
        return tf.ensure_shape(batch, (rows.shape[0], *images.shape[1:]))

    return read
