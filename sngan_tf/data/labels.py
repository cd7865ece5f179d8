"""Whether the labels of a data set are those that a run needs."""

import logging

import numpy as np

from sngan_tf.errors import UserError

_LOGGER = logging.getLogger(__name__)


def check(reference, class_names, num_classes, conditional):
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


def warn_if_unequal(pictures):
    """Warns of classes that hold unequal numbers of pictures.

    Fake labels are uniform whatever the data has, as in the authors' code.
    """
    counts = np.bincount(pictures.labels, minlength=len(pictures.class_names))
    few, many = counts.argmin(), counts.argmax()
    if counts[few] != counts[many]:
        _LOGGER.warning(
            "The classes of %s hold unequal numbers of pictures, while those "
            "that are generated are uniform: %d of %s, %d of %s",
            pictures.reference,
            counts[few],
            pictures.class_names[few],
            counts[many],
            pictures.class_names[many],
        )
