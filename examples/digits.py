"""The digits of scikit-learn for examples that classify them."""

import numpy as np

from sngan_tf import data
from sngan_tf.metrics.features import classifier


def load():
    """Returns `(images, labels)` to train on, four fifths, and held out.

    Images are `(count, 8, 8, 1)`, float32 in [0, 1].
    """
    pictures = data.load("digits", 8)
    images = pictures.images.astype(np.float32) / 255.0
    held_out, training = classifier.split_rows(len(images))
    return [
        (images[rows], pictures.labels[rows]) for rows in (training, held_out)
    ]
