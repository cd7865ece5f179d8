"""Data sets as uint8 pictures, and the tf.data pipeline that trains on them.

`load` reads a data set; `training_batches` draws from it. Nothing here
knows a GAN, a metric or a config.
"""

from typing import Any

import numpy as np

from sngan_tf import errors

with errors.extra("train"):
    from PIL import Image

from sngan_tf.data import catalog
from sngan_tf.data import folder
from sngan_tf.data import labels as labels_lib
from sngan_tf.data.batches import check_enough
from sngan_tf.data.batches import training_batches
from sngan_tf.data.folder import sizes
from sngan_tf.data.options import Options
from sngan_tf.data.pictures import Format
from sngan_tf.data.pictures import Pictures
from sngan_tf.data.pictures import collect
from sngan_tf.errors import UserError

__all__ = ["Pictures", "check_enough", "load", "sizes", "training_batches"]


def load(
    name: str,
    image_size: int,
    channels: int = 0,
    min_side: int = 0,
    background: str = "white",
    **options: Any,
) -> Pictures:
    """Loads a data set, its pictures resized and centre-cropped to a square.

    A set of more than 4 GiB is read into a file of the cache once, and from
    then on from there.

    Args:
        name: `"digits"` (1,797 handwritten digits of 8 x 8 pixels that ship
            with scikit-learn), `"folder:PATH"` (pictures in PATH, or in one
            folder per class), or any tensorflow-datasets name with an "image"
            feature.
        image_size: Side of the pictures, in pixels.
        channels: 1 makes the pictures gray, 3 colour; 0 leaves a gray set
            gray, and gives three channels to a set with any colour picture
            (and to one of more than 4 GiB).
        min_side: If not 0, pictures with a shorter side are left out and the
            others are first brought to this size (see `pictures.Format`).
        background: Colour that transparent pictures are laid on, such as
            `"white"`.
        **options: Those of `options.Options`.

    Returns:
        `Pictures`.

    Raises:
        UserError: If the data set, folder or a picture in it can't be read,
            or the labels are not as asked.
    """
    picture_format = Format(image_size, channels, min_side, background)
    options = Options(**options)
    for field in ("streaming", "recursive"):
        if getattr(options, field) and not name.startswith(folder.PREFIX):
            raise UserError(
                f"`data.{field}` must be False unless `data.name` is "
                f"folder:PATH. Received: data.{field}=True, data.name={name}"
            )
    if name == "digits":
        pictures = _load_digits(picture_format, options)
    elif name.startswith(folder.PREFIX):
        pictures = folder.load(name, picture_format, options)
    else:
        pictures = catalog.load(name, picture_format, options)
    if options.conditional:
        labels_lib.warn_if_unequal(pictures)
    return pictures


def _load_digits(picture_format, options):
    with errors.extra("train"):
        from sklearn import datasets

    digits = datasets.load_digits()
    class_names = tuple(str(name) for name in digits.target_names)
    labels_lib.check(
        "digits/all", class_names, options.num_classes, options.conditional
    )
    levels = np.rint(digits.images * (255.0 / 16.0)).astype(np.uint8)
    images, labels, digest = collect(
        [
            (picture_format.fit(Image.fromarray(image)), label)
            for image, label in zip(levels, digits.target)
        ],
        len(levels),
        picture_format,
        "digits",
    )
    return Pictures(images, labels, class_names, "digits/all", digest)
