"""Scores of pictures from the features or logits of a frozen network.

A formula a file, on arrays alone and in float64 whatever the input. What makes
features of pictures is in `features`, what is compared with what in
`protocols` and `reference`, and `scorer` puts all of them together. Nothing
here knows a GAN, a config or the files of a run.
"""

from sngan_tf.metrics.frechet_distance import Moments
from sngan_tf.metrics.frechet_distance import frechet_distance
from sngan_tf.metrics.frechet_distance import intra_class_frechet_distance
from sngan_tf.metrics.inception_score import inception_score
from sngan_tf.metrics.kernel_distance import kernel_distance
from sngan_tf.metrics.precision_recall import NEIGHBOURS
from sngan_tf.metrics.precision_recall import Manifold
from sngan_tf.metrics.precision_recall import precision_recall

__all__ = [
    "NEIGHBOURS",
    "Manifold",
    "Moments",
    "frechet_distance",
    "inception_score",
    "intra_class_frechet_distance",
    "kernel_distance",
    "precision_recall",
]
