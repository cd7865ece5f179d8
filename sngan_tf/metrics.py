"""Scores of pictures from the features or logits of a frozen network.

All are in float64, whatever the input. The Inception score and the kernel
distance are those of tensorflow-gan. Its Frechet distance drops eigenvalues
below 1e-10 and casts the result back to float32, so that here moments and root
are our own. Improved precision and recall it does not have.

Which network made the features decides what a score is called: see `scores`.
"""

import math

import numpy as np
import tensorflow as tf

from sngan_tf import tfgan

NEIGHBOURS = 3
_BLOCK = 1024
# Rows of a block of distances, of which each is as long as a whole set.
_DISTANCE_ROWS = 256
_ROUNDING = 1e-12


def inception_score(logits, splits=10):
    """exp(E KL(p(y|x) || p(y))) of each of `splits` equal parts.

    Args:
        logits: `(n, classes)` of generated pictures; n is a multiple of
            `splits`. The paper scores 5,000 pictures, 10 times (App. B.1).
        splits: Number of parts.

    Returns:
        `(mean, std)` over the parts, floats; std is that of the population.

    Raises:
        ValueError: If the parts would be unequal or empty, or a logit is not
            finite.
    """
    logits = _checked("logits", logits, least=1)
    if splits < 1 or len(logits) % splits:
        raise ValueError(
            "`splits` must divide the number of logits. Received: "
            f"splits={splits}, {len(logits)} logits"
        )
    score = tfgan.classifier_metrics().classifier_score_from_logits
    scores = [
        float(score(tf.constant(_without_zeros(part))))
        for part in np.split(logits, splits)
    ]
    return float(np.mean(scores)), float(np.std(scores))


def frechet_distance(real_features, fake_features):
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) (App. B.1).

    With C = F F^T, the trace of the root is the sum of the singular values of
    F1^T F2: real, and without the loss of digits that a root of small
    eigenvalues brings, also where there are fewer samples than features.

    Args:
        real_features: `(n, d)`, n > 1.
        fake_features: `(m, d)`, m > 1.

    Returns:
        A float; rounding below zero is cut off. Covariances divide by n - 1.

    Raises:
        ValueError: On other shapes, or a feature that is not finite.
    """
    real, fake = _checked_pair(real_features, fake_features, least=2)
    (mean_1, factor_1), (mean_2, factor_2) = map(_moments, (real, fake))
    cross = np.linalg.svd(factor_1.T @ factor_2, compute_uv=False)
    distance = (
        np.sum((mean_1 - mean_2) ** 2)
        + np.sum(factor_1**2)
        + np.sum(factor_2**2)
        - 2 * np.sum(cross)
    )
    return max(float(distance), 0.0)


def intra_class_frechet_distance(
    real_features, real_labels, fake_features, fake_labels
):
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
    real, fake = _checked_pair(real_features, fake_features, least=2)
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


def kernel_distance(real_features, fake_features, block=_BLOCK):
    """Squared maximum mean discrepancy under (x.y/d + 1)^3 (Binkowski 2018).

    The mean of tensorflow-gan's estimate over blocks of at most `block`
    samples of each set (more where else one would have a single sample of the
    other), in a fixed random order, as sets often are sorted.

    Args:
        real_features: `(n, d)`, n > 1.
        fake_features: `(m, d)`, m > 1.
        block: Most samples of a set in a block.

    Returns:
        `(distance, standard_error)`, floats. The estimate has no bias, so that
        of two sets alike it falls below zero half of the time; it is cut off
        there. The error is that of the mean of the blocks, nan if it is one.

    Raises:
        ValueError: On other shapes or numbers, or a feature that is not finite.
    """
    if block < 1:
        raise ValueError(f"`block` must be positive. Received: block={block}")
    real, fake = _checked_pair(real_features, fake_features, least=2)
    count = math.ceil(max(len(real), len(fake)) / block)
    count = min(count, len(real) // 2, len(fake) // 2)
    estimate = tfgan.classifier_metrics()
    estimate = estimate.kernel_classifier_distance_from_activations
    estimates = [
        float(
            estimate(
                tf.constant(real[real_rows], tf.float64),
                tf.constant(fake[fake_rows], tf.float64),
                max_block_size=max(len(real), len(fake)),
            )
        )
        for real_rows, fake_rows in zip(
            _random_blocks(len(real), count), _random_blocks(len(fake), count)
        )
    ]
    error = math.nan
    if count > 1:
        error = float(np.std(estimates, ddof=1)) / math.sqrt(count)
    return max(float(np.mean(estimates)), 0.0), error


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
    real, fake = _checked_pair(real_features, fake_features, neighbours + 1)
    real_radii, fake_radii = _radii(real, neighbours), _radii(fake, neighbours)
    fake_inside = np.zeros(len(fake), bool)
    real_inside = np.zeros(len(real), bool)
    for rows, distances in _squared_distances(fake, real):
        fake_inside[rows] = (distances <= real_radii).any(axis=1)
        real_inside |= (distances <= fake_radii[rows, np.newaxis]).any(axis=0)
    return float(fake_inside.mean()), float(real_inside.mean())


def _without_zeros(logits):
    """Keeps probabilities from 0, of which tensorflow-gan takes logarithms."""
    logits = logits.astype(np.float64)
    return np.maximum(logits, logits.max(axis=1, keepdims=True) - 700.0)


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
    center = _mean(b)
    norms = np.empty(len(b))
    for columns in _blocks(b):
        norms[columns] = np.sum(_centered(b, columns, center) ** 2, axis=1)
    for rows in _blocks(a, _DISTANCE_ROWS):
        block = _centered(a, rows, center)
        distances = np.sum(block**2, axis=1)[:, np.newaxis] + norms
        # What is left of the difference of equal samples is rounding.
        rounding = _ROUNDING * distances
        for columns in _blocks(b):
            other = _centered(b, columns, center)
            distances[:, columns] -= 2 * block @ other.T
        distances[distances < rounding] = 0
        yield rows, distances


def _moments(features):
    """Returns the mean, and F of the covariance F F^T: `(d, rank)`."""
    count, size = features.shape
    mean = _mean(features)
    if count <= size:
        everything = slice(None)
        factor = _centered(features, everything, mean).T
        return mean, factor / math.sqrt(count - 1)
    covariance = np.zeros((size, size))
    for rows in _blocks(features):
        block = _centered(features, rows, mean)
        covariance += block.T @ block
    return mean, _factor(covariance / (count - 1))


def _factor(covariance):
    try:
        return np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:  # Features that depend on each other.
        values, vectors = np.linalg.eigh(covariance)
        least = values[-1] * len(values) * np.finfo(np.float64).eps
        kept = values > least
        return vectors[:, kept] * np.sqrt(values[kept])


def _mean(features):
    return np.mean(features, axis=0, dtype=np.float64)


def _centered(features, rows, mean):
    return features[rows].astype(np.float64) - mean


def _blocks(features, size=_BLOCK):
    for start in range(0, len(features), size):
        yield slice(start, start + size)


def _random_blocks(count, blocks):
    order = np.random.default_rng(0).permutation(count)
    return np.array_split(order, blocks)


def _checked_pair(real_features, fake_features, least):
    real = _checked("real_features", real_features, least)
    fake = _checked("fake_features", fake_features, least)
    if real.shape[1] != fake.shape[1]:
        raise ValueError(
            "`real_features` and `fake_features` must be of one size. "
            f"Received: shapes {real.shape} and {fake.shape}"
        )
    return real, fake


def _checked(name, values, least):
    values = np.asarray(values)
    if values.ndim != 2 or len(values) < least or not values.shape[1]:
        raise ValueError(
            f"`{name}` must have the shape (n, size), n at least {least}. "
            f"Received: shape {values.shape}"
        )
    if not all(np.isfinite(values[rows]).all() for rows in _blocks(values)):
        raise ValueError(f"`{name}` must be finite. Received: nan or infinity")
    return values
