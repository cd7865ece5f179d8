"""The kernel distance of two sets of features, by tensorflow-gan."""

import math

import numpy as np
from numpy.typing import ArrayLike

from sngan_tf.metrics import arrays
from sngan_tf.metrics import tfgan

_BLOCK = 1024


def kernel_distance(
    real_features: ArrayLike, fake_features: ArrayLike, block: int = _BLOCK
) -> tuple[float, float]:
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
        of two sets alike it is below zero half of the time, and its mean over
        runs is right. The error is that of the mean of the blocks, nan if it
        is one.

    Raises:
        ValueError: On other shapes or numbers, or a feature that is not finite.
    """
    # Not at the top: other metrics need no TensorFlow.
    import tensorflow as tf

    if block < 1:
        raise ValueError(f"`block` must be positive. Received: block={block}")
    real, fake = arrays.checked_pair(real_features, fake_features, least=2)
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
    return float(np.mean(estimates)), error


def _random_blocks(count, blocks):
    order = np.random.default_rng(0).permutation(count)
    return np.array_split(order, blocks)
