"""Keras layers on `keras.ops` alone: they run on any Keras backend.

Normalizations, what folds and measures them; nothing here knows a GAN.
"""

from sngan_tf.layers.conditional_batch_normalization import (
    ConditionalBatchNormalization,
)
from sngan_tf.layers.folding import fold
from sngan_tf.layers.spectra import effective_rank
from sngan_tf.layers.spectra import singular_values
from sngan_tf.layers.spectra import spectral_estimates
from sngan_tf.layers.spectra import spectral_norms
from sngan_tf.layers.spectral_normalization import SpectralNormalization
from sngan_tf.layers.spectral_regularization import SpectralRegularization
from sngan_tf.layers.weight_normalization import FrobeniusNormalization
from sngan_tf.layers.weight_normalization import WeightNormalization
from sngan_tf.layers.wrapping import wrap

__all__ = [
    "ConditionalBatchNormalization",
    "FrobeniusNormalization",
    "SpectralNormalization",
    "SpectralRegularization",
    "WeightNormalization",
    "effective_rank",
    "fold",
    "singular_values",
    "spectral_estimates",
    "spectral_norms",
    "wrap",
]
