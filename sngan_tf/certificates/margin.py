"""How far an input can move before a classifier changes its mind."""

import math

import keras
import numpy as np
from keras import layers
from numpy.typing import ArrayLike

from sngan_tf.certificates import arrays
from sngan_tf.certificates import ascent
from sngan_tf.certificates import lipschitz
from sngan_tf.certificates import rounding

_BATCH = 256


def margin_radius(model: keras.Layer, x: ArrayLike) -> np.ndarray:
    """Returns the certified radius of each prediction, in 2-norm.

    No change of an input that is shorter changes its class, the largest logit:
    the margin to each other logit over the Lipschitz constant of their
    difference (Tsuzuku et al., 2018). Of a last dense layer that constant is
    the bound of what comes before times `|w_i - w_j|`, else root 2 that of all.
    A model of one logit has two classes, by its sign.

    Args:
        model: A classifier that `lipschitz_bounds` can bound, of logits
            `(batch, classes)`, or `(batch, 1)`. Probabilities do too, but
            their radius is smaller.
        x: Inputs `(batch, ...)`, floats, in the range of the model's.

    Returns:
        `(batch,)`, float64; 0 where two classes tie.

    Raises:
        ValueError: As `lipschitz_bounds`, if the outputs are no logits, and if
            inputs are none or no floats of the model's.
    """
    x = _checked(x)
    slopes = lipschitz.Slopes(model, tuple(x.shape[1:]))
    if len(slopes.outputs) > 1 or len(slopes.outputs[0].shape) != 2:
        raise ValueError(
            "`model` must have logits (batch, classes) as its only output. "
            f"Received: outputs {[s.shape for s in slopes.outputs]}"
        )
    (dtype,) = {spec.dtype for spec in slopes.inputs}
    if not keras.backend.is_float_dtype(dtype):
        raise ValueError(
            "`model` must have inputs of floats, as integers are held fixed. "
            f"Received: {model.name} with inputs of {dtype}"
        )
    logits = np.concatenate(
        [_logits(model, x[i : i + _BATCH]) for i in range(0, len(x), _BATCH)]
    )
    allowance = 2 * rounding.of(model) * np.max(np.abs(logits), axis=1)
    if logits.shape[1] == 1:
        return _radius(np.abs(logits) - allowance[:, None], slopes.upper)
    predicted = np.argmax(logits, axis=1)
    margins = np.take_along_axis(logits, predicted[:, None], 1) - logits
    constants = _of_differences(slopes, logits.shape[1])[predicted]
    others = np.arange(logits.shape[1]) != predicted[:, None]
    margins = np.where(others, margins - allowance[:, None], math.inf)
    return _radius(margins, constants)


def _checked(x):
    """Returns inputs as an array, `(batch, ...)`."""
    try:
        x = np.asarray(x)
        is_number = x.dtype.kind in "biuf" or x.dtype.name == "bfloat16"
    except ValueError:  # Rows of several lengths.
        is_number = False
    if not is_number or not x.ndim or not len(x):
        raise ValueError(
            "`x` must be one or more inputs (batch, ...), of numbers. "
            f"Received: x={getattr(x, 'shape', x)}"
        )
    return x


def _logits(model, x):
    (outputs,) = keras.tree.flatten(ascent.inference(model, x))
    return arrays.of(outputs)


def _radius(margins, constants):
    with np.errstate(divide="ignore", invalid="ignore"):
        radii = np.where(margins > 0, margins / constants, 0.0)
    return np.min(radii, axis=1)


def _of_differences(slopes, classes):
    """Returns a bound of f_i - f_j for each pair of logits."""
    bounds = np.full((classes, classes), math.sqrt(2) * slopes.upper)
    calls = {id(signal): call for *call, signal in slopes.calls}
    layer, moving = calls.get(id(slopes.outputs[0]), (None, None))
    while _is_identity(layer):
        layer, moving = calls.get(id(moving[0]), (None, None))
    if type(layer) is layers.Dense and _is_linear(layer):
        rows = arrays.of_kernel(layer, layer.kernel).T
        distances = np.linalg.norm(rows[:, None] - rows, axis=-1)
        found = distances * moving[0].joint * rounding.FLOAT64
        bounds = np.minimum(bounds, found)
    return bounds


def _is_identity(layer):
    return type(layer) is layers.Identity or (
        type(layer) is layers.Activation and _is_linear(layer)
    )


def _is_linear(layer):
    return layer.activation in (None, keras.activations.linear)
