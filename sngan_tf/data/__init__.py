"""Data sets as uint8 pictures, and the tf.data pipeline that trains on them.

`load` reads a data set; `training_batches` converts on the fly. Nothing here
knows a GAN, a metric or a config.
"""

import numpy as np

from sngan_tf import errors

with errors.extra("train"):
    from PIL import Image

from sngan_tf.data import catalog
from sngan_tf.data import folder
from sngan_tf.data.batches import check_enough
from sngan_tf.data.batches import training_batches
from sngan_tf.data.pictures import Format
from sngan_tf.data.pictures import Pictures
from sngan_tf.data.pictures import check_classes
from sngan_tf.data.pictures import collect
from sngan_tf.errors import UserError

__all__ = ["Pictures", "check_enough", "load", "training_batches"]


def load(
    name,
    image_size,
    channels=0,
    split="train",
    directory=None,
    min_side=0,
    num_classes=0,
    conditional=False,
    streaming=False,
    on_bad_image="raise",
    progress=False,
):
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
        split: Split of a tensorflow-datasets set, such as `"train"`; the
            others have none.
        directory: Where tensorflow-datasets keeps its data; None for its
            default.
        min_side: If not 0, pictures with a shorter side are left out and the
            others are first brought to this size (see `pictures.Format`).
        num_classes: Number of classes that the data must have; 0 for any.
        conditional: Whether every picture needs a label, for a conditional
            network: of two classes or more, and in a folder of equally many
            pictures each.
        streaming: Whether pictures of a folder are read each time they are
            needed, instead of all at once; they are the same.
        on_bad_image: What to do about a picture that can't be read: `"raise"`,
            or `"skip"`: warn, and take the next of its class (of a folder) or
            leave it out (of a tensorflow-datasets set).
        progress: Whether to show a bar.

    Returns:
        `Pictures`.

    Raises:
        UserError: If the data set, folder or a picture in it can't be read,
            or the labels are not as asked.
    """
    picture_format = Format(image_size, channels, min_side)
    if streaming and not name.startswith(folder.PREFIX):
        raise UserError(
            "`data.streaming` must be False unless `data.name` is folder:PATH. "
            f"Received: data.streaming={streaming}, data.name={name}"
        )
    if name == "digits":
        return _load_digits(picture_format, num_classes, conditional)
    if name.startswith(folder.PREFIX):
        return folder.load(
            name,
            picture_format,
            num_classes,
            conditional,
            streaming,
            on_bad_image,
            progress,
        )
    return catalog.load(
        name,
        picture_format,
        split,
        directory,
        num_classes,
        conditional,
        on_bad_image,
        progress,
    )


def _load_digits(picture_format, num_classes, conditional):
    with errors.extra("train"):
        from sklearn import datasets

    digits = datasets.load_digits()
    class_names = tuple(str(name) for name in digits.target_names)
    check_classes("digits/all", class_names, num_classes, conditional)
    levels = np.rint(digits.images * (255.0 / 16.0)).astype(np.uint8)
    images, labels = collect(
        [
            (picture_format.fit(Image.fromarray(image)), label)
            for image, label in zip(levels, digits.target)
        ],
        len(levels),
        picture_format,
        "digits",
    )
    return Pictures(images, labels, class_names, "digits/all")
