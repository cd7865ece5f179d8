"""Frozen networks whose features and logits the metrics are taken from.

Pictures in, arrays out; nothing here knows what is made of them.
"""

from sngan_tf.metrics.features.classifier import load_classifier
from sngan_tf.metrics.features.classifier import split_rows
from sngan_tf.metrics.features.inception import load_inception
from sngan_tf.metrics.features.network import FeatureNetwork

__all__ = ["FeatureNetwork", "load_classifier", "load_inception", "split_rows"]
