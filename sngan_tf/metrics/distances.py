"""Squared distances of many samples: by float32 products, with a bound.

What a bound leaves open is computed in float64.
"""

import numpy as np

from sngan_tf.metrics import arrays

_ROUNDING = 1e-12
_PAIRS = 256
_FLOAT32_ROUNDING = 2.0**-24
# Of the features to float32, of norms, of thresholds and their sums.
_OTHER_ROUNDINGS = 32


class Samples:
    """Features about a point, scaled so that the longest is at most 1.

    The scale is a power of two, which is exact, and leaves float32 room. All
    norms and distances are squared and at this scale.

    For rows x of one and y of another with the same point and scale, computed
    as |x|^2 + |y|^2 - 2 x.y with float32 products,

        |computed - exact| <= bound * (|x|^2 + |y|^2) + floor.

    A sum of d products is off by at most d * 2^-24 |x||y|, in whatever order
    they are added, fused or not (Jeannerod & Rump 2013), and
    2 |x||y| <= |x|^2 + |y|^2; `bound` counts the other roundings as so many
    more features. `floor` is for what is too small for float32.

    Attributes:
        features: `(n, d)`.
        norms: `(n,)`, float64.
        scale: What features are multiplied by.
        bound: As above.
        floor: As above.
    """

    def __init__(self, features, point, norms, scale):
        self.features = features
        self.norms = norms * scale**2
        self.scale = scale
        size = features.shape[1]
        self.bound = (size + _OTHER_ROUNDINGS) * _FLOAT32_ROUNDING
        self.floor = size * 2.0**-120
        self._point = point

    def __len__(self):
        return len(self.features)

    def rows(self, rows):
        """Returns `(len(rows), d)`, float32."""
        dtype = np.float64
        if self._point.dtype == np.float32 and 2.0**-99 < self.scale < 2.0**99:
            dtype = np.float32
        found = np.subtract(self.features[rows], self._point, dtype=dtype)
        found *= dtype(self.scale)
        return found.astype(np.float32, copy=False)

    def exact_rows(self, rows):
        """Returns `(len(rows), d)`, float64."""
        return self.scale * arrays.centered(self.features, rows, self._point)


def about_one_point(*sets):
    """Returns `Samples` of sets of features, about the mean of the first."""
    point = arrays.mean(sets[0])
    if np.result_type(np.float32, *sets) == np.float32:
        # Differences to a float32 number are rounded once, whichever it is.
        point = point.astype(np.float32)
    norms = [np.empty(len(features)) for features in sets]
    for features, of_set in zip(sets, norms):
        for rows in arrays.blocks(features):
            block = arrays.centered(features, rows, point)
            of_set[rows] = np.einsum("ij,ij->i", block, block)
    _, exponent = np.frexp(np.sqrt(max(map(np.max, norms))))
    scale = 2.0 ** -int(exponent)
    return [Samples(*known, scale) for known in zip(sets, [point] * 2, norms)]


def between(a, a_rows, b, b_rows):
    """Returns distances of all these rows, float64 `(len(a), len(b))`."""
    a_norms, b_norms = a.norms[a_rows], b.norms[b_rows]
    distances = (-2 * a.exact_rows(a_rows)) @ b.exact_rows(b_rows).T
    distances += a_norms[:, np.newaxis]
    distances += b_norms
    near = np.nonzero(distances < _ROUNDING * (a_norms.max() + b_norms.max()))
    sums = a_norms[near[0]] + b_norms[near[1]]
    distances[near] = _without_rounding(distances[near], sums)
    return distances


def of_pairs(a, a_rows, b, b_rows):
    """Returns the distance of each pair of rows, float64."""
    distances = np.empty(len(a_rows))
    for pairs in arrays.blocks(a_rows, _PAIRS):
        difference = np.subtract(
            a.features[a_rows[pairs]],
            b.features[b_rows[pairs]],
            dtype=np.float64,
        )
        difference *= a.scale
        distances[pairs] = np.einsum("ij,ij->i", difference, difference)
    return _without_rounding(distances, a.norms[a_rows] + b.norms[b_rows])


def _without_rounding(distances, sums):
    # What is left of the difference of equal samples is rounding.
    return np.where(distances < _ROUNDING * sums, 0, distances)


def reached(radii):
    """Returns radii in which a sample as far away is, whatever the rounding."""
    return radii * (1 + _ROUNDING)
