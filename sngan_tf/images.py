"""Pixel ranges and picture grids; nothing else converts pictures.

Inside, images are float32 in [-1, 1]; outside they are uint8 in 0..255.
"""

import math

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from sngan_tf import files
from sngan_tf import noise
from sngan_tf import types
from sngan_tf.errors import UserError
from sngan_tf.errors import writing


def dequantize(
    images: tf.Tensor, seed: tf.Tensor, first: tf.Tensor | None = None
) -> tf.Tensor:
    """uint8 to float32: `x / 128 - 1` plus noise from [0, 1/128).

    As the authors' code does for ResNets; the paper does not mention it.

    Args:
        images: `(batch, height, width, channels)`, uint8.
        seed: `(2,)` integers; the noise is a function of them and the place.
        first: Place of the first picture among those of the seed; see `noise`.

    Returns:
        float32 in [-1, 1), of the same shape.
    """
    # Nearer to 1, float32 would round some sums up to the next level.
    shape = (tf.shape(images)[0], *images.shape[1:])
    fraction = noise.uniform(shape, seed, first)
    fraction = tf.minimum(fraction, 1.0 - 2.0**-16)
    return (tf.cast(images, tf.float32) + fraction) / 128.0 - 1.0


def to_float(images: tf.Tensor) -> tf.Tensor:
    """uint8 to float32, the middle of what `dequantize` makes of a level.

    Args:
        images: `(batch, height, width, channels)`, uint8.

    Returns:
        float32 in (-1, 1), of the same shape.
    """
    return (tf.cast(images, tf.float32) + 0.5) / 128.0 - 1.0


def to_uint8(images: tf.Tensor) -> tf.Tensor:
    """float32 in [-1, 1] to uint8, the exact inverse of the two above.

    The authors' 127.5 x + 127.5 differs from it by at most one gray level.
    """
    levels = tf.floor((tf.cast(images, tf.float32) + 1.0) * 128.0)
    return tf.cast(tf.clip_by_value(levels, 0.0, 255.0), tf.uint8)


def grid(
    images: ArrayLike, columns: int | None = None, gap: int = 0
) -> np.ndarray:
    """Lays pictures out in rows.

    Args:
        images: `(count, height, width, channels)`, uint8.
        columns: Pictures in a row; by default as many as make a square.
        gap: Gray pixels below and right of every picture.

    Returns:
        uint8 `(rows * (height + gap), columns * (width + gap), channels)`,
        unused cells black.
    """
    images = np.asarray(images)
    count, height, width, channels = images.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    height, width = height + gap, width + gap
    cells = np.full((rows * columns, height, width, channels), 128, np.uint8)
    cells[:, : height - gap, : width - gap] = 0
    cells[:count, : height - gap, : width - gap] = images
    cells = cells.reshape(rows, columns, height, width, channels)
    return cells.swapaxes(1, 2).reshape(
        rows * height, columns * width, channels
    )


def batch_size(most: int, side: int, full_side: int = 32) -> int:
    """Returns how many pictures make a batch of a bounded number of pixels.

    Args:
        most: Pictures in one of pictures of `full_side` pixels or less.
        side: Pixels a side.
        full_side: Pixels a side.
    """
    return max(1, most * full_side**2 // max(side, full_side) ** 2)


def save_png(path: types.Path, image: np.ndarray) -> None:
    """Writes uint8 `(height, width, 1 or 3)` at once or not at all."""
    content = tf.io.encode_png(image).numpy()
    with writing(path), files.replacing(path) as temporary:
        temporary.write_bytes(content)


def read_png(path: types.Path) -> np.ndarray:
    """Returns uint8 `(height, width, channels)`.

    Raises:
        UserError: If the file is damaged.
    """
    try:
        return tf.io.decode_png(tf.io.read_file(str(path))).numpy()
    except tf.errors.InvalidArgumentError as error:
        raise UserError(
            f"{path} must be a PNG that can be read; delete it to do without"
        ) from error
