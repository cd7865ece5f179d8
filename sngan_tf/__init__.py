"""Spectral Normalization for GANs (Miyato et al., 2018) in TensorFlow/Keras 3.

`SpectralNormalization` and `fold` run on every Keras backend; the rest of the
package trains on TensorFlow and is imported when first used.
"""

import importlib

from sngan_tf.layers import SpectralNormalization
from sngan_tf.layers import fold

__version__ = "0.1.0"
__all__ = ["GAN", "SpectralNormalization", "fold", "metrics", "networks"]

_LAZY_MODULES = ("losses", "metrics", "networks")


def __getattr__(name):
    if name == "GAN":
        return importlib.import_module("sngan_tf.gan").GAN
    if name in _LAZY_MODULES:
        return importlib.import_module(f"sngan_tf.{name}")
    raise AttributeError(f"module 'sngan_tf' has no attribute {name!r}")
