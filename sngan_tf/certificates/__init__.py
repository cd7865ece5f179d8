"""How much a network can change its outputs: guaranteed, and attained.

Norms of kernels as the maps that they are, the Lipschitz constant of a whole
model from both sides, and what follows from them. On any Keras backend; all is
computed in float64 by NumPy, of the kernels that inference uses.
"""

from sngan_tf.certificates.kernel_norms import OperatorNorm
from sngan_tf.certificates.kernel_norms import operator_norms

__all__ = ["OperatorNorm", "operator_norms"]
