"""Names for what the public API takes and returns.

Keras and TensorFlow ship no types: to a checker their classes are `Any`. Here
is what no class of theirs, of NumPy's or of Python's says to a reader.
"""

import os
from collections.abc import Sequence
from typing import Any
from typing import TypeAlias

# Of the Keras backend: a `tf.Tensor`, `jax.Array` or `torch.Tensor`; where one
# is taken, whatever Keras makes one of.
Tensor: TypeAlias = Any
# Without the axis of the batch.
Shape: TypeAlias = Sequence[int]
Path: TypeAlias = str | os.PathLike[str]
# A score, as a line of `scores.jsonl` has it.
Row: TypeAlias = dict[str, Any]
