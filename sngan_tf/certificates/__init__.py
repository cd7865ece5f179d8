"""How much a network can change its outputs: guaranteed, and attained.

Norms of kernels as the maps that they are, the Lipschitz constant of a whole
model from both sides, and what follows from them. On any Keras backend; all is
computed in float64 by NumPy, of the kernels that inference uses.
"""

from sngan_tf.certificates.complexity import spectral_complexity
from sngan_tf.certificates.kernel_norms import OperatorNorm
from sngan_tf.certificates.kernel_norms import operator_norms
from sngan_tf.certificates.lipschitz import LayerBound
from sngan_tf.certificates.lipschitz import LipschitzBounds
from sngan_tf.certificates.lipschitz import lipschitz_bounds
from sngan_tf.certificates.margin import margin_radius
from sngan_tf.certificates.rules import register_lipschitz

__all__ = [
    "LayerBound",
    "LipschitzBounds",
    "OperatorNorm",
    "lipschitz_bounds",
    "margin_radius",
    "operator_norms",
    "register_lipschitz",
    "spectral_complexity",
]
