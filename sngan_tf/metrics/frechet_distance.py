"""The Frechet distance of two sets of features, and that within classes.

tensorflow-gan's drops eigenvalues below 1e-10 and casts the result back to
float32, so that here moments and root are our own.
"""

import dataclasses
import math
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from sngan_tf.metrics import arrays


def frechet_distance(
    real_features: ArrayLike, fake_features: ArrayLike
) -> float:
    """`|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))` (App. B.1).

    With C = F F^T, the trace of the root is the sum of the singular values of
    F1^T F2: real, and without the loss of digits that a root of small
    eigenvalues brings, also where there are fewer samples than features. Of a
    set that is compared again and again, `Moments` keeps what takes long.

    Args:
        real_features: `(n, d)`, n > 1.
        fake_features: `(m, d)`, m > 1.

    Returns:
        A float; rounding below zero is cut off. Covariances divide by n - 1.

    Raises:
        ValueError: On other shapes, or a feature that is not finite.
    """
    pair = arrays.checked_pair(real_features, fake_features, least=2)
    real, fake = map(Moments.of, pair)
    return real.frechet_distance(fake)


@dataclasses.dataclass(frozen=True, eq=False)
class Moments:
    """Mean and covariance of features.

    Attributes:
        mean: `(d,)`, float64.
        factor: `(d, rank)`, float64: F of the covariance F F^T.
    """

    mean: np.ndarray
    factor: np.ndarray

    @classmethod
    def of(cls, features: ArrayLike) -> Self:
        """Returns the `Moments` of features `(n, d)`, n > 1.

        Raises:
            ValueError: As `frechet_distance` does.
        """
        features = arrays.checked("features", features, least=2)
        count, size = features.shape
        mean = arrays.mean(features)
        if count <= size:
            everything = slice(None)
            factor = arrays.centered(features, everything, mean).T
            return cls(mean, factor / math.sqrt(count - 1))
        covariance = np.zeros((size, size))
        for rows in arrays.blocks(features):
            block = arrays.centered(features, rows, mean)
            covariance += block.T @ block
        return cls(mean, _factor(covariance / (count - 1)))

    def frechet_distance(self, fake: "Moments") -> float:
        """Returns the distance to other `Moments`.

        Raises:
            ValueError: If they are of another number of features.
        """
        arrays.checked_sizes(self.factor.T, fake.factor.T)
        cross = np.linalg.svd(self.factor.T @ fake.factor, compute_uv=False)
        distance = (
            np.sum((self.mean - fake.mean) ** 2)
            + np.sum(self.factor**2)
            + np.sum(fake.factor**2)
            - 2 * np.sum(cross)
        )
        return max(float(distance), 0.0)


def intra_class_frechet_distance(
    real_features: ArrayLike,
    real_labels: ArrayLike,
    fake_features: ArrayLike,
    fake_labels: ArrayLike,
) -> float:
    """Mean over the classes of the `frechet_distance` within each.

    As Miyato & Koyama 2018 score conditional models, with 5,000 generated
    pictures of each class against all of its training pictures.

    Args:
        real_features: `(n, d)`.
        real_labels: `(n,)`, integers.
        fake_features: `(m, d)`.
        fake_labels: `(m,)`, integers.

    Raises:
        ValueError: If a class has fewer than two samples in either set.
    """
    real, fake = arrays.checked_pair(real_features, fake_features, least=2)
    real_labels, fake_labels = np.asarray(real_labels), np.asarray(fake_labels)
    distances = []
    for label in np.union1d(real_labels, fake_labels):
        of_class = real[real_labels == label], fake[fake_labels == label]
        if min(map(len, of_class)) < 2:
            raise ValueError(
                "Every class needs two samples of each set. Received: "
                f"{len(of_class[0])} real and {len(of_class[1])} fake samples "
                f"of class {label}"
            )
        distances.append(frechet_distance(*of_class))
    return float(np.mean(distances))


def _factor(covariance):
    try:
        return np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:  # Features that depend on each other.
        values, vectors = np.linalg.eigh(covariance)
        least = values[-1] * len(values) * np.finfo(np.float64).eps
        kept = values > least
        return vectors[:, kept] * np.sqrt(values[kept])
