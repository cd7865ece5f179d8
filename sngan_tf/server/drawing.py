"""Latents of seeds, ways between them, and pictures as files."""

import io

import numpy as np

from sngan_tf import errors
from sngan_tf import noise
from sngan_tf.data import pictures as pictures_lib
from sngan_tf.gan import sampler as sampler_lib
from sngan_tf.server.problems import Problem

with errors.extra("serve"):
    from PIL import Image

_SIDE = 256  # What a single picture is enlarged to.
_FRAME_MILLISECONDS = 80
_SOURCES = ("PNG", "JPEG")
# Each has all pixels decoded anew, for a few bytes; ten are usual.
_SCANS = 200
_SCAN = b"\xff\xda"


def latents(seed, count, size, truncation=1.0):
    """Returns `(count, size)` float32, those of the sampler times truncation.

    Args:
        seed: A whole number.
        count: How many.
        size: Of a latent.
        truncation: Factor; 1 for the distribution that was trained on.
    """
    drawn = noise.normal((count, size), noise.fold_in(seed)).numpy()
    return drawn * np.float32(truncation)


def between(start, end, positions):
    """Returns the latents on a great circle from one to another.

    Their lengths go evenly from one's to the other's, so that all are as likely
    as these. (Shoemake, "Animating rotation with quaternion curves", 1985.)

    Args:
        start: `(size,)`.
        end: The same.
        positions: `(count,)`, from 0 for `start` to 1 for `end`.

    Returns:
        float32 `(count, size)`.
    """
    start, end = np.float64(start), np.float64(end)
    at = np.float64(positions)[:, np.newaxis]
    lengths = np.linalg.norm(start), np.linalg.norm(end)
    if not all(lengths):
        return np.float32((1 - at) * start + at * end)
    units = start / lengths[0], end / lengths[1]
    angle = np.arccos(np.clip(units[0] @ units[1], -1.0, 1.0))
    if np.sin(angle) < 1e-6:  # One direction, or its opposite.
        return np.float32((1 - at) * start + at * end)
    ways = np.sin((1 - at) * angle) * units[0] + np.sin(at * angle) * units[1]
    length = (1 - at) * lengths[0] + at * lengths[1]
    return np.float32(ways / np.sin(angle) * length)


def grid_png(images, columns=None):
    """Returns a grid as a PNG, bytes.

    Args:
        images: uint8 `(count, size, size, channels)`.
        columns: As of `images.grid`.
    """
    return _bytes(_image(sampler_lib.grid(images, columns)), "PNG")


def single_png(image):
    """Returns a picture, enlarged by a whole number, as a PNG, bytes.

    Args:
        image: uint8 `(size, size, channels)`.
    """
    return _bytes(_image(_enlarged(image)), "PNG")


def gif(images):
    """Returns an animation of pictures, there and back, as a GIF, bytes.

    Args:
        images: uint8 `(count, size, size, channels)`.
    """
    there = [_image(_enlarged(image)) for image in images]
    return _bytes(
        there[0],
        "GIF",
        save_all=True,
        append_images=there[1:] + there[-2:0:-1],
        duration=_FRAME_MILLISECONDS,
        loop=0,
    )


def read(content, image_shape, most_pixels):
    """Returns the pixels of a file as a discriminator takes them.

    Cropped to the square in the middle, brought to its size and colours, as
    pictures of a folder are.

    Args:
        content: Bytes of a PNG or JPEG.
        image_shape: `(size, size, channels)`.
        most_pixels: That it may have.

    Returns:
        uint8, of the shape.

    Raises:
        Problem: If it is none, or too large.
    """
    size, _, channels = image_shape
    try:
        image = Image.open(io.BytesIO(content), formats=_SOURCES)
        if image.width * image.height > most_pixels:
            raise _too_large(most_pixels, f"{image.width} x {image.height}")
        scans = content.count(_SCAN) if image.format != "PNG" else 1
        if scans > _SCANS:
            raise Problem(
                413, f"A JPEG may have {_SCANS} scans. Received: {scans:,}"
            )
        image.draft(None, (size, size))  # JPEGs are read smaller at once.
        return pictures_lib.Format(size, channels).fit(image)
    except Problem:
        raise
    except Image.DecompressionBombError as error:  # Larger by far.
        raise _too_large(most_pixels, "more") from error
    except Exception as error:  # whatever damaged files raise
        raise Problem(
            400,
            "The body must be a PNG or JPEG that can be read. Received: "
            f"{len(content):,} bytes",
        ) from error


def _too_large(most_pixels, received):
    return Problem(
        413,
        f"The picture may have {most_pixels:,} pixels. Received: {received}",
    )


def _enlarged(image):
    factor = max(1, _SIDE // len(image))
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


def _image(pixels):
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def _bytes(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
