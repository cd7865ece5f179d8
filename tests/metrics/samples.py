"""Features that the tests of several metrics share."""

import numpy as np


def correlated(count, size):
    """Features with a spread of variances, about as a network's are."""
    mixing = np.random.default_rng(1).normal(size=(size, size))
    return np.random.normal(size=(count, size)) @ mixing


def two_clusters(count):
    features = np.random.normal(size=(count, 2))
    features[count // 2 :] += 1000
    return features
