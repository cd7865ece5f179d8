"""Augmentations for the discriminator's inputs, real and fake alike.

Each is differentiable in the images and a function of its seed alone.
"""

import tensorflow as tf

from sngan_tf import noise


def random_shift(images, seed, pixels):
    """Moves each picture by up to `pixels` along both axes.

    Not in the paper: with few training pictures the discriminator would learn
    them by heart. Rows and columns at the border are repeated.

    Args:
        images: `(batch, height, width, channels)`, any float range.
        seed: `(2,)` integers.
        pixels: Largest shift, in pixels; 0 returns the images as they are.
    """
    if pixels == 0:
        return images
    batch = tf.shape(images)[0]
    height, width = images.shape[1:3]
    shifts = noise.integers((batch, 2), seed, -pixels, pixels)
    rows = _shift_matrix(shifts[:, 0], height, images.dtype)
    columns = _shift_matrix(shifts[:, 1], width, images.dtype)
    # Products with 0-1 matrices: unlike a gather they compile on a TPU, with
    # products for gradients too.
    return tf.einsum("bij,bkl,bjlc->bikc", rows, columns, images)


def _shift_matrix(shifts, size, dtype):
    """Returns `(batch, size, size)` with one 1 in each row."""
    source = tf.range(size)[tf.newaxis, :] + shifts[:, tf.newaxis]
    return tf.one_hot(tf.clip_by_value(source, 0, size - 1), size, dtype=dtype)
