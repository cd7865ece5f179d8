"""How far an input can move before a classifier changes its mind."""

import math

import keras
import numpy as np
from keras import layers
from keras import ops

from sngan_tf.certificates import ascent
from sngan_tf.certificates import lipschitz
from sngan_tf.certificates import rounding

_BATCH = 256


def margin_radius(model, x):
    """Returns the certified radius of each prediction, in 2-norm.

    No change of an input that is shorter changes its class, the largest logit:
    the margin to each other logit over the Lipschitz constant of their
    difference (Tsuzuku et al., 2018). Of a last dense layer that constant is
    the bound of what comes before times |w_i - w_j|, else root 2 that of all.
    A model of one logit has two classes, by its sign.

    Args:
        model: A classifier that `lipschitz_bounds` can bound, of logits
            `(batch, classes)`, or `(batch, 1)`. Probabilities do too, but
            their radius is smaller.
        x: Inputs `(batch, ...)`, floats, in the range of the model's.

    Returns:
        `(batch,)`, float64; 0 where two classes tie.

    Raises:
        ValueError: As `lipschitz_bounds`, and if the outputs are no logits.
    """
    x = np.asarray(x)
    slopes = lipschitz.Slopes(model, tuple(x.shape[1:]))
    if len(slopes.outputs) > 1 or len(slopes.outputs[0].spec.shape) != 2:
        raise ValueError(
            "`model` must have logits (batch, classes) as its only output. "
            f"Received: outputs {[s.spec.shape for s in slopes.outputs]}"
        )
    logits = np.concatenate(
        [
            ops.convert_to_numpy(ascent.inference(model, x[i : i + _BATCH]))
            for i in range(0, len(x), _BATCH)
        ]
    ).astype("float64")
    allowance = 2 * rounding.FLOAT32 * np.max(np.abs(logits), axis=1)
    if logits.shape[1] == 1:
        return _radius(np.abs(logits) - allowance[:, None], slopes.upper)
    predicted = np.argmax(logits, axis=1)
    margins = np.take_along_axis(logits, predicted[:, None], 1) - logits
    constants = _of_differences(slopes, logits.shape[1])[predicted]
    others = np.arange(logits.shape[1]) != predicted[:, None]
    margins = np.where(others, margins - allowance[:, None], math.inf)
    return _radius(margins, constants)


def _radius(margins, constants):
    with np.errstate(divide="ignore", invalid="ignore"):
        radii = np.where(margins > 0, margins / constants, 0.0)
    return np.min(radii, axis=1)


def _of_differences(slopes, classes):
    """Returns a bound of f_i - f_j for each pair of logits."""
    bounds = np.full((classes, classes), math.sqrt(2) * slopes.upper)
    last = [
        (layer, moving)
        for layer, moving, _ in slopes.calls
        if not _is_identity(layer)
    ][-1]
    layer, (signal, *_) = last
    if type(layer) is layers.Dense and _is_linear(layer):
        rows = np.asarray(
            ops.convert_to_numpy(ops.cast(layer.kernel, layer.compute_dtype)),
            np.float64,
        ).T
        distances = np.linalg.norm(rows[:, None] - rows, axis=-1)
        found = distances * signal.joint * rounding.FLOAT64
        bounds = np.minimum(bounds, found)
    return bounds


def _is_identity(layer):
    return isinstance(layer, layers.Identity) or (
        type(layer) is layers.Activation and _is_linear(layer)
    )


def _is_linear(layer):
    return layer.activation in (None, keras.activations.linear)
