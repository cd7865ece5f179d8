"""Frozen networks whose features and logits the metrics are taken from.

Pictures in, arrays out; nothing here knows what is made of them.
"""

from sngan_tf.metrics.features.classifier import accuracy
from sngan_tf.metrics.features.classifier import load_classifier
from sngan_tf.metrics.features.classifier import split_rows
from sngan_tf.metrics.features.inception import load_inception
from sngan_tf.metrics.features.network import FeatureNetwork
from sngan_tf.metrics.features.saved import saved_classifier

__all__ = [
    "FeatureNetwork",
    "accuracy",
    "load_classifier",
    "load_inception",
    "saved_classifier",
    "split_rows",
]
