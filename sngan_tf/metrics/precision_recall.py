"""Improved precision and recall of two sets of features."""

import numpy as np

from sngan_tf.metrics import arrays

NEIGHBOURS = 3
# Rows of a block of distances, of which each is as long as a whole set.
_DISTANCE_ROWS = 256
_ROUNDING = 1e-12


def precision_recall(real_features, fake_features, neighbours=NEIGHBOURS):
    """Improved precision and recall (Kynkaanniemi et al. 2019, Eq. 1-2).

    A set's manifold is the union of the balls around its samples that reach
    to their k-th nearest neighbour in it. The authors take the features of
    VGG-16, 50,000 of each set, and k = 3.

    Args:
        real_features: `(n, d)`, n > k.
        fake_features: `(m, d)`, m > k.
        neighbours: k.

    Returns:
        `(precision, recall)`: the share, 0..1, of fake samples in the real
        manifold, and of real samples in the fake one.

    Raises:
        ValueError: On other shapes, too few samples, or a feature that is not
            finite.
    """
    if neighbours < 1:
        raise ValueError(
            f"`neighbours` must be positive. Received: neighbours={neighbours}"
        )
    real, fake = arrays.checked_pair(
        real_features, fake_features, neighbours + 1
    )
    real_radii, fake_radii = _radii(real, neighbours), _radii(fake, neighbours)
    fake_inside = np.zeros(len(fake), bool)
    real_inside = np.zeros(len(real), bool)
    for rows, distances in _squared_distances(fake, real):
        fake_inside[rows] = (distances <= real_radii).any(axis=1)
        real_inside |= (distances <= fake_radii[rows, np.newaxis]).any(axis=0)
    return float(fake_inside.mean()), float(real_inside.mean())


def _radii(features, neighbours):
    """Returns the squared distance of each sample to its k-th neighbour."""
    radii = np.empty(len(features))
    for rows, distances in _squared_distances(features, features):
        # The nearest of all is the sample itself.
        distances.partition(neighbours, axis=1)
        radii[rows] = distances[:, neighbours]
    return radii * (1 + _ROUNDING)  # A sample as far away is inside.


def _squared_distances(a, b):
    """Yields a slice of the rows of `a`, and their distances to all of `b`."""
    center = arrays.mean(b)
    norms = np.empty(len(b))
    for columns in arrays.blocks(b):
        norms[columns] = np.sum(
            arrays.centered(b, columns, center) ** 2, axis=1
        )
    for rows in arrays.blocks(a, _DISTANCE_ROWS):
        block = arrays.centered(a, rows, center)
        distances = np.sum(block**2, axis=1)[:, np.newaxis] + norms
        # What is left of the difference of equal samples is rounding.
        rounding = _ROUNDING * distances
        for columns in arrays.blocks(b):
            other = arrays.centered(b, columns, center)
            distances[:, columns] -= 2 * block @ other.T
        distances[distances < rounding] = 0
        yield rows, distances
