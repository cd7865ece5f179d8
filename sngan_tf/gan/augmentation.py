"""Augmentations for the discriminator's inputs, real and fake alike.

Each is differentiable in the images and a function of its seed alone.
"""

from typing import Any
from typing import Self

import keras
import tensorflow as tf

from sngan_tf import noise


@keras.saving.register_keras_serializable("sngan_tf")
class RandomShift:
    """Moves each picture by up to `pixels` along both axes.

    Not in the paper: with few training pictures the discriminator would learn
    them by heart. Rows and columns at the border are repeated.

    Args:
        pixels: Largest shift, in pixels, an integer of 0 or more; 0 leaves
            the pictures as they are.

    Call arguments:
        images: `(batch, height, width, channels)`, any float range.
        seed: `(2,)` integers.

    Raises:
        ValueError: If `pixels` is out of range.
    """

    def __init__(self, pixels: int):
        if int(pixels) != pixels or pixels < 0:
            raise ValueError(
                "`pixels` must be an integer of 0 or more. "
                f"Received: pixels={pixels}"
            )
        self.pixels = int(pixels)

    def __call__(self, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        if self.pixels == 0:
            return images
        batch = tf.shape(images)[0]
        height, width = images.shape[1:3]
        shifts = noise.integers((batch, 2), seed, -self.pixels, self.pixels)
        rows = _shift_matrix(shifts[:, 0], height, images.dtype)
        columns = _shift_matrix(shifts[:, 1], width, images.dtype)
        # Products with 0-1 matrices: unlike a gather they compile on a TPU,
        # with products for gradients too.
        return tf.einsum("bij,bkl,bjlc->bikc", rows, columns, images)

    def get_config(self) -> dict[str, Any]:
        return {"pixels": self.pixels}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**config)


def _shift_matrix(shifts, size, dtype):
    """Returns `(batch, size, size)` with one 1 in each row."""
    source = tf.range(size)[tf.newaxis, :] + shifts[:, tf.newaxis]
    return tf.one_hot(tf.clip_by_value(source, 0, size - 1), size, dtype=dtype)
