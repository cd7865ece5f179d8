"""Scores of pictures from the features or logits of a frozen network.

The values come from tensorflow-gan, in float64. Which network made the
features decides what a score is called: see `evaluate`.
"""

import numpy as np
import tensorflow as tf

from sngan_tf import tfgan


def inception_score(logits, splits=10):
    """exp(E KL(p(y|x) || p(y))) of each of `splits` equal parts.

    Args:
        logits: `(n, classes)` of generated pictures; n is a multiple of
            `splits`. The paper scores 5,000 pictures, 10 times (App. B.1).
        splits: Number of parts.

    Returns:
        `(mean, std)` over the parts, floats; std is that of the population.

    Raises:
        ValueError: If the parts would be unequal.
    """
    logits = np.asarray(logits, np.float64)
    if splits < 1 or len(logits) % splits:
        raise ValueError(
            "`splits` must divide the number of logits. Received: "
            f"splits={splits}, {len(logits)} logits"
        )
    score = tfgan.classifier_metrics().classifier_score_from_logits
    scores = [
        float(score(tf.constant(part))) for part in np.split(logits, splits)
    ]
    return float(np.mean(scores)), float(np.std(scores))


def frechet_distance(real_features, fake_features):
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) (App. B.1).

    Args:
        real_features: `(n, d)`, n > 1.
        fake_features: `(m, d)`, m > 1.

    Returns:
        A float; rounding below zero is cut off. Covariances divide by n - 1.
    """
    distance = (
        tfgan.classifier_metrics().frechet_classifier_distance_from_activations
    )
    value = distance(
        tf.constant(real_features, tf.float64),
        tf.constant(fake_features, tf.float64),
    )
    return max(float(value), 0.0)
