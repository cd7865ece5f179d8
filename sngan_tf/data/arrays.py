"""Pictures of data sets that are functions: arrays in memory."""

import hashlib

import numpy as np
from PIL import Image

from sngan_tf.data import labels as labels_lib
from sngan_tf.data import pictures
from sngan_tf.errors import UserError
from sngan_tf.errors import first_line


def load(name, function, picture_format, options):
    """Returns the `Pictures` of a row of `DATA_SETS`; see `data.load`."""
    _, _, argument = name.partition(":")
    try:
        images, labels, class_names = function(argument)
    except UserError:
        raise
    except (LookupError, OSError, ValueError) as error:
        raise UserError(
            f"`data.name` must name what can be read. Received: {name} "
            f"({first_line(error)})"
        ) from error
    class_names = tuple(map(str, class_names))
    _check(name, images, labels, class_names)
    reference = f"{name}/all"
    labels_lib.check(
        reference, class_names, options.num_classes, options.conditional
    )
    if images.ndim == 4 and images.shape[-1] == 1:
        images = images[..., 0]
    numbers = np.zeros(len(images), np.int32) if labels is None else labels
    sources = hashlib.sha256(np.ascontiguousarray(images))
    sources.update(np.asarray(numbers, np.int32).tobytes())
    images, numbers, digest = pictures.collect(
        (
            (picture_format.fit(Image.fromarray(image)), number)
            for image, number in zip(images, numbers)
        ),
        len(images),
        picture_format,
        [name, sources.hexdigest()],
    )
    return pictures.Pictures(
        images,
        None if labels is None else numbers,
        class_names,
        reference,
        digest,
    )


def _check(name, images, labels, class_names):
    """Raises a UserError unless a function made a data set."""
    is_gray = images.ndim == 3 or images.shape[3:] == (1,)
    is_colour = images.shape[3:] == (3,)
    if (
        images.dtype != np.uint8
        or not (is_gray or is_colour)
        or not len(images)
    ):
        raise UserError(
            "`data.name` must be of uint8 images, (count, height, width) or "
            f"(count, height, width, 1 or 3). Received: {name} of "
            f"{images.dtype}, {images.shape}"
        )
    classes = range(len(class_names))
    if labels is None and not class_names:
        return
    if np.shape(labels) != (len(images),) or not np.isin(labels, classes).all():
        raise UserError(
            "`data.name` must be of one label for each image, the number of "
            "one of its class names, or of neither labels nor names. Received: "
            f"{name} of {len(images)} images, labels of the shape "
            f"{np.shape(labels)}, {len(class_names)} names"
        )
