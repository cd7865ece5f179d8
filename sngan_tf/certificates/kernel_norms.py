"""The operator norm of each kernel as the map that a layer makes of it."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np

from sngan_tf import types
from sngan_tf.certificates import arrays
from sngan_tf.certificates import convolution_norms
from sngan_tf.certificates import maps
from sngan_tf.certificates import singular_values
from sngan_tf.certificates import walk
from sngan_tf.layers import convolution as convolution_lib
from sngan_tf.layers import spectra


class OperatorNorm(NamedTuple):
    """The norm of a linear map, from both sides.

    Attributes:
        lower: Attained by some input.
        upper: Never exceeded.
        how: The upper one was found: "svd" of a matrix, "svd of the map" of a
            convolution, which both are exact; "fft", of a circular convolution
            that holds the map; "taps", from the matrix and how often an input
            is seen; or "unknown".
    """

    lower: float
    upper: float
    how: str


def operator_norms(
    model: keras.Layer,
    input_shape: types.Shape | Sequence[types.Shape] | None = None,
) -> dict[str, OperatorNorm]:
    """Returns `{name: OperatorNorm}` of each kernel as its layer applies it.

    Of one example, without bias and activation, of the kernels that inference
    uses, in float64. `spectral_norms` measures matrices; of a convolution the
    norm of the map is up to sqrt(taps) times as large. An embedding, a
    recurrent layer's cell and the parts of a separable convolution have that
    of each kernel alone.

    A convolution is measured at the sizes that it is called with in the graph
    of the model, the largest counts; without graph at that of its build. Where
    that is open, the bounds hold for all sizes: lower is attained at some. Maps
    of at most 4,096 inputs or outputs are exact, to 1e-8; larger ones lie
    between both. The kernel of a custom or quantized layer has
    (0, inf, "unknown").

    Args:
        model: A built Keras model or layer.
        input_shape: Of one example, as `(32, 32, 3)`, or a list of such for
            several inputs; None for that of the model.

    Returns:
        Names as of `spectral_norms`.

    Raises:
        ValueError: On a model that is not built, a kernel that is not finite,
            and an `input_shape` that is not the model's.
    """
    if not isinstance(model, keras.Layer) or not model.built:
        raise ValueError(
            f"`model` must be a built Keras model or layer. Received: {model!r}"
        )
    shapes = _input_shapes(model, input_shape)
    values = in_effect(model)
    norms = {}
    for kernel in spectra.named_kernels(model):
        value = values[kernel.name]
        found = [
            _norm(kernel.layer, kernel.variable, value, shape)
            for shape in {*shapes.get(id(kernel.layer), [None])}
        ]
        largest = max(found, key=lambda norm: norm.upper)
        lower = max(norm.lower for norm in found)
        norms[kernel.name] = largest._replace(lower=lower)
    return norms


def upper(layer, variable, value, input_shape=None):
    """Returns `(bound, how)` of one kernel, as of `OperatorNorm`.

    Args:
        layer: Built layer that computes with the kernel itself.
        variable: The kernel.
        value: Of the kernel in effect, an array of its shape.
        input_shape: Of a call, with batch axis; None for that of the build.

    Raises:
        ValueError: On a value that is not finite.
    """
    value = np.asarray(value, np.float64)
    _check_finite(value, variable.path)
    norm = _norm(layer, variable, value, input_shape)
    return norm.upper, norm.how


def in_effect(model):
    """Returns `{name: kernel}`, float64, as inference rounds and uses them.

    Args:
        model: A built Keras model or layer.

    Raises:
        ValueError: On a kernel that is not finite.
    """
    kernels_in_effect = spectra.in_effect(model)
    found = {}
    for kernel in spectra.named_kernels(model):
        value = kernels_in_effect[id(kernel.variable)]
        found[kernel.name] = arrays.of_kernel(kernel.layer, value)
        _check_finite(found[kernel.name], kernel.name)
    return found


def _norm(layer, variable, value, input_shape):
    if layer.quantization_mode:
        return OperatorNorm(0.0, math.inf, "unknown")
    # By a power of 2, so that squares neither overflow nor vanish.
    _, exponent = np.frexp(np.max(np.abs(value)))
    value = np.ldexp(value, -exponent)
    norm = _norm_near_one(layer, variable, value, input_shape)
    lower, upper = np.ldexp(norm[:2], exponent)
    return norm._replace(lower=float(lower), upper=float(upper))


def _norm_near_one(layer, variable, value, input_shape):
    if _is_convolutional_cell(layer):
        strides = layer.strides
        if variable is layer.recurrent_kernel:
            strides = (1,) * len(strides)
        matrix = value.reshape(1, -1, value.shape[-1])
        return _from_taps(matrix, value.shape[: len(strides)], strides)
    found = maps.of_kernel(layer, variable, value, input_shape)
    if found is None:
        return OperatorNorm(0.0, math.inf, "unknown")
    convolution, matrices = found
    if convolution is None:
        return OperatorNorm(*singular_values.of_matrices(matrices), "svd")
    if None in (input_shape or convolution_lib.build_shape(layer))[1:]:
        strides = [
            axis.stride // math.gcd(axis.stride, axis.dilation)
            for axis in convolution.axes
        ]
        return _from_taps(matrices, variable.shape[:-2], strides)
    return OperatorNorm(*convolution_norms.bounds(convolution, matrices))


def _from_taps(matrices, kernel_size, strides):
    """Returns the norm of a convolution at all sizes.

    An input is seen through at most ceil(k / s) taps along an axis, and each
    output is its matrix times what it sees; where one is alone, that is all.
    """
    lower, upper = singular_values.of_matrices(matrices)
    seen = math.prod(-(-k // s) for k, s in zip(kernel_size, strides))
    return OperatorNorm(lower, math.sqrt(seen) * upper, "taps")


def _is_convolutional_cell(layer):
    # A class that Keras keeps to itself.
    kind = type(layer)
    return kind.__name__ == "ConvLSTMCell" and kind.__module__.startswith(
        "keras."
    )


def _check_finite(value, name):
    if not np.all(np.isfinite(value)):
        raise ValueError(
            f"Kernels must be finite. Received: {name} with inf or nan"
        )


def _input_shapes(model, input_shape):
    """Returns `{id(layer): shapes}` of the calls that are known."""
    function = walk.graph(model)
    if function is not None:
        open_size = any(None in x.shape[1:] for x in function.inputs)
        if open_size and input_shape is None:
            return {}
        return walk.input_shapes(model, input_shape)
    if input_shape is None:
        return {}
    if isinstance(model, keras.Model):
        raise ValueError(
            "`input_shape` must be None for a model that is no graph of "
            f"layers. Received: input_shape={input_shape}, {model.name}"
        )
    (spec, *_) = walk.input_specs(model, input_shape)
    return {id(walk.wrapped(model)): [tuple(spec.shape)]}
