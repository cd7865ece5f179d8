"""Tensors of any backend as float64 arrays."""

import keras
import numpy as np
from keras import ops


def of(x):
    """Returns a tensor, a variable or a number as an array."""
    return np.asarray(ops.convert_to_numpy(x), np.float64)


def of_kernel(layer, kernel):
    """Returns a kernel as inference rounds it, in the layer's compute dtype."""
    kernel = ops.cast(kernel, layer.compute_dtype)
    # NumPy has no bfloat16.
    wide = keras.backend.result_type(kernel.dtype, "float32")
    return of(ops.cast(kernel, wide))
