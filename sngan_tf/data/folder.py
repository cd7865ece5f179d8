"""Pictures of a folder, flat or in one folder per class."""

import concurrent.futures
import dataclasses
import functools
import logging
import os
import pathlib
from typing import Literal

import numpy as np
from PIL import Image
from PIL import ImageOps

from sngan_tf import progress as progress_lib
from sngan_tf.data import labels as labels_lib
from sngan_tf.data import pictures
from sngan_tf.errors import UserError
from sngan_tf.errors import first_line

_LOGGER = logging.getLogger(__name__)
PREFIX = "folder:"
_EXTENSIONS = frozenset(
    (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
)
_READ_AHEAD = 1024


class Files:
    """Pictures of files: an array that reads what it is asked for.

    Args:
        paths: The files.
        labels: Their classes.
        picture_format: `Format` that they are made into; to index them, one
            that says how many channels, and no picture smaller than its
            `min_side`.
        on_bad_image: What to do about a file that can't be read: `"raise"` a
            UserError, or `"skip"`: warn, and take the next of its class.

    Attributes:
        error: The UserError that reading has ended with, or None.
    """

    dtype = np.dtype("uint8")

    def __init__(self, paths, labels, picture_format, on_bad_image):
        self.error = None
        self.labels = np.asarray(labels, np.int32)
        self._paths = paths
        self._format = picture_format
        self._on_bad_image = on_bad_image
        self._bad = set()

    @property
    def shape(self):
        size = self._format.image_size
        return (len(self), size, size, self._format.channels)

    def __len__(self):
        return len(self._paths)

    def __getitem__(self, rows):
        return np.stack([*self._over(self.read, np.arange(len(self))[rows])])

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self[:], dtype)

    def all(self):
        """Yields `read` of each file."""
        return self._over(self.read, range(len(self)))

    def read(self, i):
        """Returns a picture, or None, as `Format.fit` does."""
        return self._use(
            i, lambda image: self._format.fit(ImageOps.exif_transpose(image))
        )

    def indexable(self, progress):
        """Returns those that are large enough, by what the files say."""
        if self._format.channels and not self._format.min_side:
            return self  # Nothing that they say matters.
        found = progress_lib.over(
            self._over(
                lambda i: self._use(i, lambda image: (image.size, image.mode)),
                range(len(self)),
            ),
            "files",
            len(self),
            show=progress,
        )
        sizes, modes = zip(*found)
        kept = [
            i
            for i, size in enumerate(sizes)
            if min(size) >= self._format.min_side
        ]
        picture_format = self._format
        if not picture_format.channels:
            gray = all(map(pictures.is_gray, modes))
            picture_format = dataclasses.replace(
                picture_format, channels=1 if gray else 3
            )
        return Files(
            [self._paths[i] for i in kept],
            self.labels[kept],
            picture_format,
            self._on_bad_image,
        )

    def sizes(self):
        """Returns the set of `(width, height)` that the files say."""

        def size(i):
            return self._use(i, lambda image: image.size)

        return {*self._over(size, range(len(self)))}

    def key(self):
        """Returns what the pictures depend on beside their format, for JSON."""
        states = [
            [str(path), status.st_size, status.st_mtime_ns]
            for path, status in zip(self._paths, map(os.stat, self._paths))
        ]
        # A picture that can't be read is replaced by another of its label.
        return [states, self.labels.tolist(), self._on_bad_image]

    def digest(self):
        """Returns `digest` of `Pictures`."""
        return pictures.digest(self._format, self.key())

    def _over(self, function, numbers):
        # Reading waits for the disk, so threads do it, some pictures ahead.
        for i in range(0, len(numbers), _READ_AHEAD):
            yield from _threads().map(function, numbers[i : i + _READ_AHEAD])

    def _use(self, i, function):
        """Returns a function of a file's `PIL.Image`, or of a stand-in's."""
        for j in self._stand_ins(i):
            try:
                with Image.open(self._paths[j]) as image:
                    return function(image)
            except Exception as error:  # damaged files raise many kinds
                self._report(self._paths[j], error)
        self.error = UserError(
            f"No picture can be read in {self._paths[i].parent}"
        )
        raise self.error

    def _stand_ins(self, i):
        """Yields i, then the others of its class, the next one first."""
        yield i
        others = np.flatnonzero(self.labels == self.labels[i])
        yield from others[others > i]
        yield from others[others < i]

    def _report(self, path, error):
        message = f"{path} can't be read as a picture: {first_line(error)}"
        if self._on_bad_image == "raise":
            self.error = UserError(message)
            raise self.error from error
        if path not in self._bad:
            self._bad.add(path)
            _LOGGER.warning("%s; skipped", message)


@functools.cache
def _threads():
    return concurrent.futures.ThreadPoolExecutor()


def load(name, picture_format, options):
    """Returns the `Pictures` of `folder:PATH`; see `data.load`."""
    folder = _folder(name)
    paths, labels, class_names = _list(name, folder, options.recursive)
    reference = f"{PREFIX}{folder.resolve()}"
    labels_lib.check(
        reference, class_names, options.num_classes, options.conditional
    )
    files = Files(paths, labels, picture_format, options.on_bad_image)
    if options.streaming:
        images = files.indexable(options.progress)
        kept, digest = images.labels, images.digest()
        pictures.check_some(len(kept), len(files), picture_format)
    else:
        examples = progress_lib.over(
            zip(files.all(), labels, strict=True),
            "pictures",
            len(files),
            show=options.progress,
        )
        images, kept, digest = pictures.collect(
            examples, len(files), picture_format, files.key()
        )
    return pictures.Pictures(
        images, kept if class_names else None, class_names, reference, digest
    )


def sizes(
    name: str,
    recursive: bool = False,
    on_bad_image: Literal["raise", "skip"] = "raise",
) -> set[tuple[int, int]]:
    """Returns the set of `(width, height)` that the files themselves have.

    Args:
        name: `folder:PATH`.
        recursive: As of `Options`.
        on_bad_image: As of `Options`.

    Raises:
        UserError: As `load`, but only the beginning of each file is read.
    """
    paths, labels, _ = _list(name, _folder(name), recursive)
    return Files(paths, labels, None, on_bad_image).sizes()


def _folder(name):
    folder = pathlib.Path(name.removeprefix(PREFIX)).expanduser()
    if not folder.is_dir():
        raise UserError(f"`data.name` names a missing folder. Received: {name}")
    return folder


def _list(name, folder, recursive):
    """Returns paths, a label for each (0 if flat), and class names."""
    paths = _pictures_in(folder)
    classes = [path for path in _visible(folder) if path.is_dir()]
    if paths and recursive:
        paths, classes = _pictures_in(folder, recursive), []
    if paths and classes:
        raise UserError(
            "A folder of pictures must be flat or hold one folder per class, "
            f"not both, unless data.recursive is set. Received: {folder} with "
            f"{paths[0].name} beside {classes[0].name}/"
        )
    if not paths and not classes:
        raise UserError(
            f"`data.name` must name a folder that holds pictures "
            f"({', '.join(sorted(_EXTENSIONS))}). Received: {name}"
        )
    if paths:
        return paths, [0] * len(paths), ()
    paths_of = [_pictures_in(path, recursive) for path in classes]
    for path, found in zip(classes, paths_of, strict=True):
        if not found:
            raise UserError(
                "Every class folder must hold pictures "
                f"({', '.join(sorted(_EXTENSIONS))}), in folders of its own "
                f"only if data.recursive is set. Received: {path} without any"
            )
    labels = [i for i, found in enumerate(paths_of) for _ in found]
    paths = [path for found in paths_of for path in found]
    return paths, labels, tuple(path.name for path in classes)


def _visible(folder):
    return sorted(p for p in folder.iterdir() if not p.name.startswith("."))


def _pictures_in(folder, recursive=False):
    """Returns the pictures in a folder, then those in folders of it."""
    visible = _visible(folder)
    found = [
        path
        for path in visible
        if path.is_file() and path.suffix.lower() in _EXTENSIONS
    ]
    if recursive:
        for path in visible:
            if path.is_dir() and not path.is_symlink():
                found += _pictures_in(path, recursive)
    return found
