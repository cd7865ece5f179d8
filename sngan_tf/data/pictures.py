"""A data set of square uint8 pictures, and how any picture becomes one."""

import dataclasses
import hashlib
import json

import numpy as np
from PIL import Image
from PIL import ImageOps

from sngan_tf import files
from sngan_tf.errors import UserError

_GRAY_MODES = ("1", "L", "LA", "F")
# Larger sets are kept on disk, of which the system caches what fits.
MEMORY_LIMIT = 4 * 2**30


@dataclasses.dataclass(frozen=True)
class Pictures:
    """A data set.

    Attributes:
        images: `(count, size, size, channels)`, uint8, 1 or 3 channels; in
            memory, a memory map of a file, or `folder.Files`.
        labels: `(count,)`, int32 class of each picture, or None.
        class_names: Name of each class; empty without labels.
        reference: Data set and split, as scores name it.
    """

    images: np.ndarray
    labels: np.ndarray | None
    class_names: tuple
    reference: str

    def __len__(self):
        return len(self.images)


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
    """

    image_size: int
    channels: int = 0
    min_side: int = 0

    def fit(self, image):
        """Returns uint8 `(size, size, 1 or 3)`; None for one to leave out.

        Args:
            image: A `PIL.Image`.
        """
        if min(image.size) < self.min_side:
            return None
        if image.mode.startswith("I"):  # 16 bits a pixel
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        gray = self.channels == 1 or (not self.channels and is_gray(image.mode))
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


def check_classes(reference, class_names, num_classes, conditional):
    """Refuses labels that a run can't use.

    Args:
        reference: Name of the data set, for the message.
        class_names: Its classes; empty without labels.
        num_classes: How many are asked for; 0 for any number.
        conditional: Whether the network needs labels.

    Raises:
        UserError: Saying what is wrong.
    """
    if conditional and not class_names:
        raise UserError(
            "A conditional network needs labels. Received: "
            f"{reference}, which has none"
        )
    if conditional and len(class_names) < 2:
        raise UserError(
            "A conditional network needs two classes or more. Received: "
            f"{reference} with the single class {class_names[0]}"
        )
    if num_classes not in (0, len(class_names)):
        raise UserError(
            "`data.num_classes` must be that of the data, or 0. Received: "
            f"data.num_classes={num_classes}, {len(class_names)} classes in "
            f"{reference}"
        )


def collect(examples, count, picture_format, key):
    """Returns `(images, labels)` of fitted pictures, without those left out.

    A set above `MEMORY_LIMIT` goes to a file in the cache, once.

    Args:
        examples: Iterable of `(image, label)`, `Format.fit`'s images.
        count: How many there are at most.
        picture_format: Their `Format`.
        key: Whatever they depend on beside it, as JSON can hold it.

    Returns:
        uint8 `(n, size, size, channels)` and int32 `(n,)`.

    Raises:
        UserError: If every picture is left out.
    """
    size = picture_format.image_size
    shape = (count, size, size, picture_format.channels or 3)
    if np.prod(shape, dtype=np.int64) <= MEMORY_LIMIT:
        kept = [pair for pair in examples if pair[0] is not None]
        images = [image for image, _ in kept]
        labels = [label for _, label in kept]
        images = _stack(images) if images else np.empty((0, *shape[1:]))
    else:
        key = [key, shape, picture_format.min_side]
        images, labels = _on_disk(examples, shape, key)
    check_some(len(images), count, picture_format)
    return images, np.asarray(labels, np.int32)


def _on_disk(examples, shape, key):
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
    folder = files.cache_directory() / "pictures" / digest
    images_path, labels_path = folder / "images.npy", folder / "labels.npy"
    if not labels_path.exists():  # Written last: the set is whole.
        folder.mkdir(parents=True, exist_ok=True)
        images = np.lib.format.open_memmap(images_path, "w+", np.uint8, shape)
        labels = []
        for image, label in examples:
            if image is not None:
                images[len(labels)] = image
                labels.append(label)
        images.flush()
        with files.replacing(labels_path) as temporary:
            np.save(temporary, np.asarray(labels, np.int32))
    labels = np.load(labels_path)
    return np.load(images_path, mmap_mode="r")[: len(labels)], labels


def _square(image, size, resampling):
    return ImageOps.fit(image, (size, size), resampling)


def _stack(images):
    """Stacks pictures; gray ones get three channels if any has colour."""
    channels = max(image.shape[-1] for image in images)
    shape = (*images[0].shape[:2], channels)
    return np.stack([np.broadcast_to(image, shape) for image in images])
