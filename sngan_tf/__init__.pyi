"""What the package imports when it is asked for, to type checkers and editors.

The names of `_HOMES` and `_MODULES` in `__init__.py`.
"""

from sngan_tf import certificates as certificates
from sngan_tf import layers as layers
from sngan_tf import metrics as metrics
from sngan_tf import networks as networks
from sngan_tf.certificates import lipschitz_bounds as lipschitz_bounds
from sngan_tf.certificates import margin_radius as margin_radius
from sngan_tf.certificates import operator_norms as operator_norms
from sngan_tf.certificates import register_lipschitz as register_lipschitz
from sngan_tf.certificates import spectral_complexity as spectral_complexity
from sngan_tf.gan import losses as losses
from sngan_tf.gan.model import GAN as GAN
from sngan_tf.gan.spectral_compensation import (
    SpectralCompensation as SpectralCompensation,
)
from sngan_tf.layers import SpectralNormalization as SpectralNormalization
from sngan_tf.layers import fold as fold
from sngan_tf.layers import wrap as wrap
from sngan_tf.networks.pretrained import pretrained as pretrained
from sngan_tf.runs import callbacks as callbacks
from sngan_tf.runs.loading import load_run as load_run

__version__: str
