"""The Inception score, by tensorflow-gan."""

import numpy as np
from numpy.typing import ArrayLike

from sngan_tf.metrics import arrays
from sngan_tf.metrics import tfgan


def inception_score(logits: ArrayLike, splits: int = 10) -> tuple[float, float]:
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
    # Not at the top: other metrics need no TensorFlow.
    import tensorflow as tf

    logits = arrays.checked("logits", logits, least=1)
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


def _without_zeros(logits):
    """Keeps probabilities from 0, of which tensorflow-gan takes logarithms."""
    logits = logits.astype(np.float64)
    return np.maximum(logits, logits.max(axis=1, keepdims=True) - 700.0)
