"""The spectral norms of a model's kernels: exact in effect, and by `u`."""

import numpy as np
from keras import ops

from sngan_tf.layers import kernel_normalization
from sngan_tf.layers import kernels as kernels_lib
from sngan_tf.layers import naming
from sngan_tf.layers import power_iteration
from sngan_tf.layers import spectral_normalization


def spectral_norms(model):
    """Returns `{name: norm}`, the largest singular value of each kernel.

    Measured in float64 on the kernel that inference uses, so a normalised one
    stands near its bound (Fig. 9); each is read as the matrix d_out x rest,
    also where another norm divides: for `norm="conv"` they then lie below the
    bound, as far as that of the map exceeds that of the matrix.

    A name is that of the layer that holds the kernel, as `dense`, followed by
    the kernel's where the layer has several, as `lstm_cell/kernel`. Of layers
    with one name, those after the first get a number, as `lstm_cell_1/kernel`.

    Args:
        model: A built Keras model or layer.
    """
    normalized = {}
    for layer in kernels_lib.sublayers(model):
        if isinstance(layer, kernel_normalization.KernelNormalization):
            for kernel, value in zip(layer.kernels, layer.normalized_kernels()):
                normalized[id(kernel)] = value
    return {
        name: _largest_singular_value(
            power_iteration.as_matrix(
                ops.convert_to_tensor(normalized.get(id(kernel), kernel)), axes
            )
        )
        for name, kernel, axes in _named_kernels(model)
    }


def spectral_estimates(model):
    """Returns `{name: sigma(W)}` of each kernel that has a `u`.

    What spectral normalization divides by, in the norm of each layer (with
    `at_most` where it is above the bound), and spectral regularization
    penalises: float32 scalars, of the kernels themselves, at the cost of a
    product of each with a vector. No variable changes, and it can be compiled.

    Args:
        model: A built Keras model or layer.

    Returns:
        Names as of `spectral_norms`; empty without such kernels.
    """
    estimates = {}
    for layer in kernels_lib.sublayers(model):
        if isinstance(layer, spectral_normalization.SpectralNormalization):
            found = layer.spectral_norm()
            found = found if isinstance(found, list) else [found]
            estimates.update(zip(map(id, layer.kernels), found))
    return {
        name: estimates[id(kernel)]
        for name, kernel, _ in _named_kernels(model)
        if id(kernel) in estimates
    }


def _named_kernels(model):
    """Yields the name, the variable and the output axes of each kernel."""
    output_axes = {}  # Of layers whose wrapper was told them.
    names = set()
    for layer in kernels_lib.sublayers(model):
        if isinstance(layer, kernel_normalization.KernelNormalization):
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
            yield layer_name + several, kernel, axes


def _largest_singular_value(matrix):
    matrix = np.asarray(ops.convert_to_numpy(matrix), np.float64)
    if matrix.shape[0] > matrix.shape[1]:
        matrix = matrix.T
    # The small Gram matrix is far cheaper than an SVD, and in float64 as good
    # for the largest value.
    return float(np.sqrt(np.linalg.eigvalsh(matrix @ matrix.T)[-1]))
