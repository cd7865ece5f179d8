"""The spectral complexity of a chain of layers, a measure of its capacity."""

import math
from collections.abc import Mapping

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from sngan_tf import types
from sngan_tf.certificates import convolution_norms
from sngan_tf.certificates import kernel_norms
from sngan_tf.certificates import lipschitz
from sngan_tf.certificates import maps
from sngan_tf.certificates import rules
from sngan_tf.certificates import walk
from sngan_tf.layers import kernels
from sngan_tf.layers import spectra


def spectral_complexity(
    model: keras.Model,
    references: Mapping[str, ArrayLike] | None = None,
    input_shape: types.Shape | None = None,
) -> float:
    """Returns R_A, which margin bounds of generalisation are proportional to.

    Of matrices A_i with references M_i, and what stands between them, of
    Lipschitz constants rho_i::

        prod_i (rho_i |A_i|) (sum_i (|A_i^T - M_i^T|_(2,1) / |A_i|)^(2/3))^(3/2)

    A_i is the whole map of a layer, of a convolution from all pixels to all
    pixels, and `|A_i|` the upper bound of `operator_norms`. `|A^T|_(2,1)` is
    the sum of the 2-norms of its rows, one for each output. The constants are
    those of `lipschitz_bounds`, and the product is its `upper`. Biases, which
    the theorem doesn't have, play no part.

    Args:
        model: A built Functional or Sequential model, a chain of layers from
            one input to one output.
        references: `{name: kernel}` with names of `spectral_norms` and arrays
            of the kernels' shapes, such as those before training; those that
            aren't given are 0.
        input_shape: Of one example, as `(32, 32, 3)`, where the model leaves
            sizes open.

    Raises:
        ValueError: On a model that is no chain, by the name of the layer where
            its branches meet; on a layer whose matrix isn't known, a kernel of
            zeros, references that don't fit, and as `lipschitz_bounds`.

    Reference: Bartlett, Foster & Telgarsky, "Spectrally-normalized margin
    bounds for neural networks", 2017, Eq. 1.2.
    """
    slopes = lipschitz.Slopes(model, input_shape)
    _check_chain(model, slopes)
    named = spectra.named_kernels(model)
    references = _checked(references or {}, named)
    shapes = walk.input_shapes(model, input_shape)
    values = kernel_norms.in_effect(model)
    ratios = []
    for kernel in named:
        if id(kernel.layer) not in shapes:
            raise _refusal(model, kernel.name, "is inside another layer")
        value = values[kernel.name]
        difference = value - references.get(kernel.name, 0.0)
        for shape in shapes[id(kernel.layer)]:
            norm, how = kernel_norms.upper(
                kernel.layer, kernel.variable, value, shape
            )
            if how == "unknown" or norm == 0:
                raise _refusal(model, kernel.name, f"has the norm {norm}")
            rows = _length_of_rows(
                kernel.layer, kernel.variable, difference, shape
            )
            ratios.append(rows / norm)
    return slopes.upper * float(np.sum(np.power(ratios, 2 / 3)) ** 1.5)


def _length_of_rows(layer, variable, value, input_shape):
    """Returns the sum of the 2-norms of the rows of a layer's whole map."""
    convolution, matrices = maps.of_kernel(layer, variable, value, input_shape)
    if convolution is not None:
        return _length_of_pixels(convolution, np.square(matrices))
    blocks, inputs, outputs = matrices.shape
    if kernels.is_transposed(layer):  # Rows that no input reaches are zeros.
        copies = math.prod(input_shape[1:]) // inputs
    else:
        shape = layer.compute_output_shape(input_shape)
        copies = math.prod(shape[1:]) // (blocks * outputs)
    return float(copies * np.sum(np.linalg.norm(matrices, axis=1)))


def _length_of_pixels(convolution, squares):
    outputs, taps = convolution.positions.shape
    groups, _, filters = squares.shape
    squares = squares.reshape(groups, taps, -1, filters)
    if convolution.transposed:
        seen = convolution_norms.output_positions(convolution) < outputs
        squares = np.sum(squares, axis=3)
    else:
        seen = convolution.positions < convolution.input_positions
        squares = np.sum(squares, axis=2)
    return float(np.sum(np.sqrt(np.tensordot(seen, squares, (1, 1)))))


def _check_chain(model, slopes):
    """Raises a ValueError unless each tensor goes into one layer alone."""
    for layer, signals, _ in slopes.calls:
        if len(signals) > 1:
            raise ValueError(
                "`model` must be a chain of layers. Received: "
                f"{model.name}, whose branches meet at {rules.described(layer)}"
            )
    used = [id(signals[0]) for _, signals, _ in slopes.calls]
    ends = len(slopes.inputs), len(slopes.outputs)
    is_whole = slopes.calls and slopes.calls[-1][-1] is slopes.outputs[0]
    if (
        walk.graph(model) is None
        or len({*used}) < len(used)
        or ends != (1, 1)
        or not is_whole
    ):
        raise ValueError(
            "`model` must be a chain of layers from one input to one output. "
            f"Received: {model.name}"
        )


def _checked(references, named):
    """Returns `{name: array}` of references that fit the kernels."""
    shapes = {kernel.name: tuple(kernel.variable.shape) for kernel in named}
    if not isinstance(references, dict):
        raise ValueError(
            "`references` must be {name: kernel}. "
            f"Received: references={references!r}"
        )
    arrays = {}
    for name, kernel in references.items():
        array = np.asarray(ops.convert_to_numpy(kernel))
        if shapes.get(name) != array.shape:
            raise ValueError(
                f"`references` must be among {shapes}, names and shapes of "
                f"kernels. Received: {name} of shape {array.shape}"
            )
        arrays[name] = array.astype(np.float64)
        if not np.all(np.isfinite(arrays[name])):
            raise ValueError(
                f"`references` must be finite. Received: {name} with inf or nan"
            )
    return arrays


def _refusal(model, name, why):
    return ValueError(
        f"There is no spectral complexity of {model.name}: its kernel {name} "
        f"{why}"
    )
