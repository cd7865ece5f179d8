"""The exact spectral norms of the kernels that a model computes with."""

import numpy as np
from keras import ops

from sngan_tf.layers import kernel_normalization
from sngan_tf.layers import kernels as kernels_lib
from sngan_tf.layers import naming
from sngan_tf.layers import power_iteration


def spectral_norms(model):
    """Returns `{name: norm}`, the largest singular value of each kernel.

    Measured in float64 on the kernel that inference uses, so a normalised one
    stands near its bound (Fig. 9); each is read as the matrix d_out x rest. A
    name is that of the layer that holds the kernel, as `dense`, followed by
    the kernel's where the layer has several, as `lstm_cell/kernel`. Of layers
    with one name, those after the first get a number, as `lstm_cell_1/kernel`.

    Args:
        model: A built Keras model or layer.
    """
    normalized = {}
    output_axes = {}  # Of layers whose wrapper was told them.
    names = set()
    norms = {}
    for layer in kernels_lib.sublayers(model):
        if isinstance(layer, kernel_normalization.KernelNormalization):
            for kernel, value in zip(layer.kernels, layer.normalized_kernels()):
                normalized[id(kernel)] = value
            for sublayer in kernels_lib.sublayers(layer.layer):
                output_axes[id(sublayer)] = layer.output_axes
            continue
        found = kernels_lib.own_kernels(layer, output_axes.get(id(layer)))
        if not found:
            continue
        layer_name = naming.unique(layer.name, names)
        names.add(layer_name)
        for kernel, axes in found:
            several = f"/{kernel.name}" if len(found) > 1 else ""
            matrix = power_iteration.as_matrix(
                ops.convert_to_tensor(normalized.get(id(kernel), kernel)), axes
            )
            norms[layer_name + several] = _largest_singular_value(matrix)
    return norms


def _largest_singular_value(matrix):
    matrix = np.asarray(ops.convert_to_numpy(matrix), np.float64)
    if matrix.shape[0] > matrix.shape[1]:
        matrix = matrix.T
    # The small Gram matrix is far cheaper than an SVD, and in float64 as good
    # for the largest value.
    return float(np.sqrt(np.linalg.eigvalsh(matrix @ matrix.T)[-1]))
