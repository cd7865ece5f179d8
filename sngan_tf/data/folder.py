"""Pictures of a folder, flat or in one folder per class."""

import concurrent.futures
import pathlib

import numpy as np
from PIL import Image
from PIL import ImageOps

from sngan_tf import progress as progress_lib
from sngan_tf.data import pictures
from sngan_tf.errors import UserError
from sngan_tf.errors import first_line

PREFIX = "folder:"
_EXTENSIONS = frozenset(
    (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
)
_READ_AHEAD = 1024


def load(name, picture_format, num_classes, conditional, progress):
    """Returns the `Pictures` of `folder:PATH`; see `data.load`."""
    folder = pathlib.Path(name.removeprefix(PREFIX)).expanduser()
    if not folder.is_dir():
        raise UserError(f"`data.name` names a missing folder. Received: {name}")
    paths, labels, class_names = _list(name, folder)
    reference = f"{PREFIX}{folder.resolve()}"
    pictures.check_classes(reference, class_names, num_classes, conditional)
    if conditional:
        _check_equal(folder, labels, class_names)
    images = _read_all(paths, picture_format)
    examples = progress_lib.over(
        zip(images, labels, strict=True),
        "pictures",
        len(paths),
        show=progress,
    )
    images, kept = pictures.collect(
        examples, len(paths), picture_format, [*map(_state, paths)]
    )
    if conditional:
        _check_equal(folder, kept, class_names)
    return pictures.Pictures(
        images, kept if class_names else None, class_names, reference
    )


def _list(name, folder):
    """Returns paths, a label for each (0 if flat), and class names."""
    paths = _pictures_in(folder)
    classes = [path for path in _visible(folder) if path.is_dir()]
    if paths and classes:
        raise UserError(
            "A folder of pictures must be flat or hold one folder per class, "
            f"not both. Received: {folder} with {paths[0].name} beside "
            f"{classes[0].name}/"
        )
    if not paths and not classes:
        raise UserError(
            f"`data.name` must name a folder that holds pictures "
            f"({', '.join(sorted(_EXTENSIONS))}). Received: {name}"
        )
    if paths:
        return paths, [0] * len(paths), ()
    paths_of = [_pictures_in(path) for path in classes]
    for path, found in zip(classes, paths_of, strict=True):
        if not found:
            raise UserError(
                "Every class folder must hold pictures "
                f"({', '.join(sorted(_EXTENSIONS))}). Received: {path} "
                "without any"
            )
    labels = [i for i, found in enumerate(paths_of) for _ in found]
    paths = [path for found in paths_of for path in found]
    return paths, labels, tuple(path.name for path in classes)


def _check_equal(folder, labels, class_names):
    counts = np.bincount(labels, minlength=len(class_names))
    if counts.min() != counts.max():
        few, many = counts.argmin(), counts.argmax()
        raise UserError(
            "Class folders must hold equally many pictures for a conditional "
            "network, whose fake labels are uniform. Received: "
            f"{folder} with {counts[few]} of {class_names[few]}, "
            f"{counts[many]} of {class_names[many]}"
        )


def _state(path):
    status = path.stat()
    return [str(path), status.st_size, status.st_mtime_ns]


def _visible(folder):
    return sorted(p for p in folder.iterdir() if not p.name.startswith("."))


def _pictures_in(folder):
    return [
        path
        for path in _visible(folder)
        if path.is_file() and path.suffix.lower() in _EXTENSIONS
    ]


def _read_all(paths, picture_format):
    # Reading waits for the disk, so threads do it, some pictures ahead.
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for i in range(0, len(paths), _READ_AHEAD):
            yield from pool.map(
                lambda path: _read(path, picture_format),
                paths[i : i + _READ_AHEAD],
            )


def _read(path, picture_format):
    try:
        with Image.open(path) as image:
            return picture_format.fit(ImageOps.exif_transpose(image))
    except Exception as error:  # damaged files raise many kinds
        raise UserError(
            f"{path} can't be read as a picture: {first_line(error)}"
        ) from error
