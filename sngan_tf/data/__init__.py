"""Data sets as uint8 pictures, and the tf.data pipeline that trains on them.

`load` reads a data set; `training_batches` draws from it. Nothing here
knows a GAN, a metric or a config.
"""

from typing import Any

import numpy as np

from sngan_tf import errors

with errors.extra("train"):
    from sngan_tf.data import arrays

from sngan_tf.data import catalog
from sngan_tf.data import folder
from sngan_tf.data import labels as labels_lib
from sngan_tf.data.batches import check_enough
from sngan_tf.data.batches import training_batches
from sngan_tf.data.folder import sizes
from sngan_tf.data.options import Options
from sngan_tf.data.pictures import Format
from sngan_tf.data.pictures import Pictures
from sngan_tf.errors import UserError

__all__ = ["Pictures", "check_enough", "load", "sizes", "training_batches"]


def _digits(argument):
    """Returns the arrays of scikit-learn's digits."""
    if argument:
        raise UserError(
            "`data.name` must be digits without more. "
            f"Received: digits:{argument}"
        )
    with errors.extra("train"):
        from sklearn import datasets

    digits = datasets.load_digits()
    levels = np.rint(digits.images * (255.0 / 16.0)).astype(np.uint8)
    return levels, digits.target, digits.target_names


# By what stands before a colon in a name: what makes arrays of what stands
# behind it, text or none. uint8 images `(count, height, width[, 1 or 3])`,
# labels `(count,)` or None, and names of the classes.
DATA_SETS = {"digits": _digits}


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
            folder per class), any tensorflow-datasets name with an "image"
            feature, or `KEY` or `KEY:ARGUMENT` of another row of `DATA_SETS`.
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
    key = name.partition(":")[0]
    if key in DATA_SETS:
        pictures = arrays.load(name, DATA_SETS[key], picture_format, options)
    elif name.startswith(folder.PREFIX):
        pictures = folder.load(name, picture_format, options)
    else:
        pictures = catalog.load(name, picture_format, options)
    if options.conditional:
        labels_lib.warn_if_unequal(pictures)
    return pictures


def has_splits(name: str) -> bool:
    """Returns whether `split` chooses among the pictures of a name."""
    key = name.partition(":")[0]
    return key not in DATA_SETS and not name.startswith(folder.PREFIX)
