"""A data set of square uint8 pictures, and how any picture becomes one."""

import dataclasses
import hashlib
import json
import logging
from collections.abc import Iterator

import numpy as np
from PIL import Image
from PIL import ImageOps

from sngan_tf import files
from sngan_tf.errors import UserError
from sngan_tf.errors import first_line

_LOGGER = logging.getLogger(__name__)
# Of the files on disk; another if `Format.fit` gives other pixels.
_VERSION = 1
_GRAY_MODES = ("1", "L", "LA", "F")
# Larger sets are kept on disk, of which the system caches what fits.
MEMORY_LIMIT = 4 * 2**30
_IMAGES, _LABELS = "images.npy", "labels.npy"
_AT_ONCE = 1024


@dataclasses.dataclass(frozen=True)
class Pictures:
    """A data set.

    Attributes:
        images: `(count, size, size, channels)`, uint8, 1 or 3 channels; in
            memory, a memory map of a file, or `folder.Files`.
        labels: `(count,)`, int32 class of each picture, or None.
        class_names: Name of each class; empty without labels.
        reference: Data set and split, as scores name it.
        digest: Hash of what the images are made of, where to read them all
            takes long; empty for those in memory.
    """

    images: np.ndarray
    labels: np.ndarray | None
    class_names: tuple[str, ...]
    reference: str
    digest: str = ""

    def __len__(self):
        return len(self.images)

    def identity(
        self, rows: np.ndarray | None = None
    ) -> Iterator[bytes | memoryview]:
        """Yields bytes that stand for some of the images: their own, or fewer.

        Args:
            rows: Numbers of the images; by default those of all.
        """
        if self.digest:
            yield self.digest.encode()
            yield b"" if rows is None else np.asarray(rows, np.int64).tobytes()
            return
        rows = np.arange(len(self)) if rows is None else rows
        for start in range(0, len(rows), _AT_ONCE):
            images = self.images[rows[start : start + _AT_ONCE]]
            yield np.ascontiguousarray(images).data


@dataclasses.dataclass(frozen=True)
class Format:
    """What every picture is made into.

    Attributes:
        image_size: Side of the square, in pixels.
        channels: 1 makes pictures gray, 3 colour; 0 leaves a gray set gray,
            and gives three channels to a set with any colour picture.
        min_side: If not 0, pictures with a shorter side are left out, and the
            others brought to this size before `image_size`: with 256, as the
            authors do for ImageNet (centre crop, then bilinear).
        background: Colour that shows where a picture is transparent, of
            `PIL.ImageColor`.
    """

    image_size: int
    channels: int = 0
    min_side: int = 0
    background: str = "white"

    def fit(self, image: Image.Image) -> np.ndarray | None:
        """Returns uint8 `(size, size, 1 or 3)`; None for one to leave out.

        Args:
            image: A `PIL.Image`.
        """
        if min(image.size) < self.min_side:
            return None
        if image.mode.startswith("I"):  # 16 bits a pixel
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        gray = self.channels == 1 or (not self.channels and is_gray(image.mode))
        if image.has_transparency_data:
            image = image.convert("RGBA")
            ground = Image.new("RGBA", image.size, self.background)
            image = Image.alpha_composite(ground, image)
        image = image.convert("L" if gray else "RGB")
        if self.min_side:
            image = _square(image, self.min_side, Image.Resampling.BICUBIC)
            image = _square(image, self.image_size, Image.Resampling.BILINEAR)
        else:
            image = _square(image, self.image_size, Image.Resampling.BICUBIC)
        return np.asarray(image).reshape(self.image_size, self.image_size, -1)


def is_gray(mode):
    """Returns whether pictures of a `PIL` mode have no colour."""
    return mode in _GRAY_MODES or mode.startswith("I")


def check_some(count, of, picture_format):
    """Raises a UserError if no picture is left."""
    if not count:
        raise UserError(
            "`data.min_side` must leave some pictures that can be read. "
            f"Received: data.min_side={picture_format.min_side}, {of} pictures"
        )


def digest(picture_format, key):
    """Returns a hash of what pictures are made of: a `Format` and JSON."""
    about = [_VERSION, dataclasses.asdict(picture_format), key]
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]


def collect(examples, count, picture_format, key):
    """Collects fitted pictures, without those left out.

    A set above `MEMORY_LIMIT` goes to a file in the cache, once.

    Args:
        examples: Iterable of `(image, label)`, `Format.fit`'s images.
        count: How many there are at most.
        picture_format: Their `Format`.
        key: Whatever they depend on beside it, as JSON can hold it.

    Returns:
        `images`, `labels` and `digest` of `Pictures`, with labels for all.

    Raises:
        UserError: If every picture is left out.
    """
    size = picture_format.image_size
    shape = (count, size, size, picture_format.channels or 3)
    name = ""
    if np.prod(shape, dtype=np.int64) <= MEMORY_LIMIT:
        kept = [pair for pair in examples if pair[0] is not None]
        images = [image for image, _ in kept]
        labels = [label for _, label in kept]
        images = _stack(images) if images else np.empty((0, *shape[1:]))
    else:
        name = digest(picture_format, key)
        images, labels = _on_disk(examples, shape, name)
    check_some(len(images), count, picture_format)
    return images, np.asarray(labels, np.int32), name


def _on_disk(examples, shape, name):
    folder = files.cache_directory() / "pictures" / name

    def read():
        return _read(folder, shape)

    def make():
        _write(folder, examples, shape)
        return read()

    return files.made_once(folder / _IMAGES, read, make)


def _write(folder, examples, shape):
    with files.replacing(folder / _IMAGES) as temporary:
        images = np.lib.format.open_memmap(temporary, "w+", np.uint8, shape)
        labels = []
        for image, label in examples:
            if image is not None:
                images[len(labels)] = image
                labels.append(label)
        images.flush()
        # Before the images take their place, so that these have labels.
        with files.replacing(folder / _LABELS) as temporary_labels:
            np.save(temporary_labels, np.asarray(labels, np.int32))


def _read(folder, shape):
    """Returns what `_write` wrote; None if there is none or it is damaged."""
    if not (folder / _IMAGES).exists():
        return None
    try:
        images = np.load(folder / _IMAGES, mmap_mode="r")
        labels = np.load(folder / _LABELS)
        if images.shape != shape or len(labels) > len(images):
            raise ValueError("other shapes")
    except Exception as error:  # whatever damaged files raise
        _LOGGER.warning(
            "%s is damaged, made anew: %s", folder, first_line(error)
        )
        return None
    return images[: len(labels)], labels


def _square(image, size, resampling):
    return ImageOps.fit(image, (size, size), resampling)


def _stack(images):
    """Stacks pictures; gray ones get three channels if any has colour."""
    channels = max(image.shape[-1] for image in images)
    shape = (*images[0].shape[:2], channels)
    return np.stack([np.broadcast_to(image, shape) for image in images])
