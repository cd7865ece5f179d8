"""Improved precision and recall of two sets of features."""

import dataclasses
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from sngan_tf.metrics import arrays
from sngan_tf.metrics import distances
from sngan_tf.metrics import neighbours as neighbours_lib

NEIGHBOURS = 3


def precision_recall(
    real_features: ArrayLike,
    fake_features: ArrayLike,
    neighbours: int = NEIGHBOURS,
) -> tuple[float, float]:
    """Improved precision and recall (Kynkaanniemi et al. 2019, Eq. 1-2).

    A set's manifold is the union of the balls around its samples that reach
    to their k-th nearest neighbour in it. The authors take the features of
    VGG-16, 50,000 of each set, and k = 3. Of a set that is compared again and
    again, `Manifold` keeps the balls.

    Args:
        real_features: `(n, d)`, n > k.
        fake_features: `(m, d)`, m > k.
        neighbours: k.

    Returns:
        `(precision, recall)`: the share, 0..1, of fake samples in the real
        manifold, and of real samples in the fake one. As by distances in
        float64, whatever the features are.

    Raises:
        ValueError: On other shapes, too few samples, or a feature that is not
            finite.
    """
    _check(neighbours)
    pair = arrays.checked_pair(real_features, fake_features, neighbours + 1)
    real, fake = (Manifold.of(features, neighbours) for features in pair)
    return real.precision_recall(fake)


@dataclasses.dataclass(frozen=True, eq=False)
class Manifold:
    """A set of features, each with the ball around it.

    Attributes:
        features: `(n, d)`.
        radii: `(n,)`, float64: squared distances to the k-th neighbours.
    """

    features: np.ndarray
    radii: np.ndarray

    @classmethod
    def of(cls, features: ArrayLike, neighbours: int = NEIGHBOURS) -> Self:
        """Returns the `Manifold` of features `(n, d)`, n > k = `neighbours`.

        Raises:
            ValueError: As `precision_recall` does.
        """
        _check(neighbours)
        features = arrays.checked("features", features, neighbours + 1)
        (samples,) = distances.about_one_point(features)
        radii = neighbours_lib.kth_distances(samples, neighbours)
        return cls(features, radii / samples.scale**2)

    def precision_recall(self, fake: "Manifold") -> tuple[float, float]:
        """Returns `(precision, recall)` of the fake samples' `Manifold`.

        Raises:
            ValueError: If the features are not of one size.
        """
        arrays.checked_sizes(self.features, fake.features)
        real, fakes = distances.about_one_point(self.features, fake.features)
        real_balls, fake_balls = (
            _Balls(samples, known.radii)
            for samples, known in ((real, self), (fakes, fake))
        )
        for rows in arrays.blocks(fakes):
            block = fakes.rows(rows)
            exact = False
            for columns in arrays.blocks(real):
                if not exact:
                    products = block @ real.rows(columns).T
                    # Many ties are faster in float64, and seldom alone.
                    exact = not (
                        real_balls.cover(columns, fake_balls, rows, products)
                        and fake_balls.cover(
                            rows, real_balls, columns, products.T
                        )
                    )
                if exact:
                    found = distances.between(fakes, rows, real, columns)
                    real_balls.cover_exactly(columns, fake_balls, rows, found)
                    fake_balls.cover_exactly(rows, real_balls, columns, found.T)
        return float(fake_balls.inside.mean()), float(real_balls.inside.mean())


class _Balls:
    """Balls around samples, and which samples are in those of the other set."""

    def __init__(self, samples, radii):
        self.inside = np.zeros(len(samples), bool)
        self._samples = samples
        self._radii = distances.reached(radii * samples.scale**2)
        off = samples.bound * samples.norms + samples.floor
        self._halves_low = ((samples.norms - off) / 2).astype(np.float32)
        self._halves_high = ((samples.norms + off) / 2).astype(np.float32)
        # Of |y|^2 / 2 - radius / 2, which, less x.y, is compared with x.
        self._low = ((samples.norms - off - self._radii) / 2).astype(np.float32)
        self._high = ((samples.norms + off - self._radii) / 2).astype(
            np.float32
        )

    def cover_exactly(self, columns, others, rows, found):
        """Marks which rows of the others are in the balls of some columns.

        `found` are the distances, `(len(rows), len(columns))`.
        """
        others.inside[rows] |= (found <= self._radii[columns]).any(axis=1)

    def cover(self, columns, others, rows, products):
        """Does the same by products; returns whether they are precise enough.

        They are not where many distances are near radii.
        """
        values = self._low[columns] - products
        limits = -others._halves_low[rows]
        row = np.flatnonzero(
            (values.min(axis=1) <= limits) & ~others.inside[rows]
        )
        high = self._high[columns] - products[row]
        sure = high.min(axis=1) <= -others._halves_high[rows][row]
        others.inside[rows.start + row[sure]] = True
        row = row[~sure]
        place, column = np.nonzero(values[row] <= limits[row][:, np.newaxis])
        if len(place) > max(products.shape):
            return False
        row = rows.start + row[place]
        column = columns.start + column
        found = distances.of_pairs(others._samples, row, self._samples, column)
        others.inside[row[found <= self._radii[column]]] = True
        return True


def _check(neighbours):
    if neighbours < 1:
        raise ValueError(
            f"`neighbours` must be positive. Received: neighbours={neighbours}"
        )
