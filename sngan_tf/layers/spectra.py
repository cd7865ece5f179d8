"""The spectra of a model's kernels: exact in effect, and the norms by `u`."""

import dataclasses
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from sngan_tf import types
from sngan_tf.layers import kernel_normalization
from sngan_tf.layers import kernels as kernels_lib
from sngan_tf.layers import naming
from sngan_tf.layers import power_iteration
from sngan_tf.layers import spectral_normalization


@dataclasses.dataclass(frozen=True)
class NamedKernel:
    """A kernel of a model.

    Attributes:
        name: As `spectral_norms` says.
        layer: The layer that computes with it itself, no wrapper.
        variable: Its variable, un-normalised.
        output_axes: Those that count the rows of its matrix.
    """

    name: str
    layer: keras.Layer
    variable: keras.Variable
    output_axes: tuple[int, ...]


def spectral_norms(model: keras.Layer) -> dict[str, float]:
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
    return {
        name: float(values[0])
        for name, values in singular_values(model).items()
    }


def singular_values(model: keras.Layer) -> dict[str, np.ndarray]:
    """Returns `{name: values}`, all singular values of each kernel (Fig. 3).

    Of what `spectral_norms` has the largest of: float64 arrays of
    min(d_out, rest) values, the largest first. Those below 1e-8 of the largest
    are known to that, not to their own size.

    Args:
        model: A built Keras model or layer.
    """
    values = in_effect(model)
    return {
        kernel.name: _singular_values(
            power_iteration.as_matrix(
                values[id(kernel.variable)], kernel.output_axes
            )
        )
        for kernel in named_kernels(model)
    }


def effective_rank(values: ArrayLike) -> float:
    """Returns exp(H(p)) of p = s / sum(s): 1 for rank one, n for n alike.

    Args:
        values: Singular values s, not negative; 0 if all are.

    Reference: Roy & Vetterli, "The effective rank", 2007.
    """
    values = np.asarray(values, np.float64)
    if not np.any(values > 0):
        return 0.0
    shares = values[values > 0] / np.sum(values)
    return float(np.exp(-np.sum(shares * np.log(shares))))


def spectral_estimates(model: keras.Layer) -> dict[str, types.Tensor]:
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
    estimates: dict[int, types.Tensor] = {}
    for layer in kernels_lib.sublayers(model):
        if isinstance(layer, spectral_normalization.SpectralNormalization):
            found = layer.spectral_norm()
            found = found if isinstance(found, list) else [found]
            estimates.update(zip(map(id, layer.kernels), found))
    return {
        kernel.name: estimates[id(kernel.variable)]
        for kernel in named_kernels(model)
        if id(kernel.variable) in estimates
    }


def in_effect(model: keras.Layer) -> dict[int, types.Tensor]:
    """Returns `{id(variable): kernel}`, float32 as inference uses them.

    Args:
        model: A built Keras model or layer.
    """
    found = {
        id(kernel.variable): ops.convert_to_tensor(kernel.variable)
        for kernel in named_kernels(model)
    }
    for layer in kernels_lib.sublayers(model):
        if isinstance(layer, kernel_normalization.KernelNormalization):
            found.update(
                zip(map(id, layer.kernels), layer.normalized_kernels())
            )
    return found


def named_kernels(model: keras.Layer) -> list[NamedKernel]:
    """Returns a `NamedKernel` for each kernel, outermost layers first.

    Args:
        model: A built Keras model or layer.
    """
    output_axes: dict[int, Any] = {}  # Of layers whose wrapper was told them.
    names: set[str] = set()
    kernels = []
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
        for variable, axes in found:
            several = f"/{variable.name}" if len(found) > 1 else ""
            kernels.append(
                NamedKernel(layer_name + several, layer, variable, axes)
            )
    return kernels


def _singular_values(matrix):
    matrix = np.asarray(ops.convert_to_numpy(matrix), np.float64)
    if matrix.shape[0] > matrix.shape[1]:
        matrix = matrix.T
    # The small Gram matrix is far cheaper than an SVD, and in float64 as good
    # for all but the smallest.
    squares = np.linalg.eigvalsh(matrix @ matrix.T)[::-1]
    return np.sqrt(np.maximum(squares, 0.0))
