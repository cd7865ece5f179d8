"""Keras layers on `keras.ops` alone: they run on any Keras backend."""

from sngan_tf.layers.folding import fold
from sngan_tf.layers.spectral_normalization import SpectralNormalization

__all__ = ["SpectralNormalization", "fold"]
