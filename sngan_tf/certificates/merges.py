"""The slopes of layers of several inputs, and of operations of `keras.ops`.

All are functions of the operation, its arguments in order, the signals among
them, those of these that inputs move, and the shape of what comes out, to
`(signal, bound)`: what comes out, and the `rules.Bound` of the operation on all
its inputs together.
"""

import math

import keras
import numpy as np
from keras import layers

from sngan_tf.certificates import activations
from sngan_tf.certificates import arrays
from sngan_tf.certificates import layer_rules
from sngan_tf.certificates import rules
from sngan_tf.certificates import signals as signals_lib
from sngan_tf.layers import ConditionalBatchNormalization


def of(operation):
    """Returns the function of an operation, None if it is none of these."""
    if type(operation) in _LAYERS:
        return _LAYERS[type(operation)]
    kind = type(operation)
    if not kind.__module__.startswith("keras.src.ops."):
        return None
    if kind.__name__ in _OPERATIONS:
        return _OPERATIONS[kind.__name__]
    return _function if activations.of_class(kind.__name__) else None


def _sum(operation, arguments, signals, moving, spec):
    spread = _spread(operation, moving, spec)
    copies = sum(signals_lib.copies(signal, spec) for signal in moving)
    bound = rules.Bound(math.sqrt(copies), "sum")
    return signals_lib.added(spread, spec), bound


def _mean(operation, arguments, signals, moving, spec):
    total, bound = _sum(operation, arguments, signals, moving, spec)
    mean = signals_lib.scaled(total, 1 / len(signals), spec)
    return mean, rules.Bound(bound.value / len(signals), "mean")


def _side_by_side(operation, arguments, signals, moving, spec):
    return signals_lib.stacked(moving, spec), rules.Bound(1.0, "side by side")


def _selection(operation, arguments, signals, moving, spec):
    spread = _spread(operation, moving, spec)
    copies = max(signals_lib.copies(signal, spec) for signal in moving)
    bound = rules.Bound(math.sqrt(copies), "one of each entries")
    return signals_lib.stacked(spread, spec), bound


def _product(operation, arguments, signals, moving, spec):
    if len(moving) > 1:
        raise rules.refusal(operation, "it multiplies what inputs change")
    if getattr(operation, "normalize", False):
        raise rules.refusal(operation, "it divides by lengths")
    factor = math.prod(
        _largest(operation, number) for number in _numbers(arguments)
    )
    for signal in signals:
        if signal.is_constant:
            if signal.size is None:
                raise rules.refusal(operation, "a factor's size is not known")
            factor *= signal.size
    return _spread_and_scaled(operation, moving, factor, spec, "largest factor")


def _quotient(operation, arguments, signals, moving, spec):
    divisors = _numbers(arguments)
    if len(divisors) != 1 or arguments[0] is not moving[0]:
        raise rules.refusal(operation, "only a constant number may divide")
    factor = _largest(operation, divisors[0], inverse=True)
    return _spread_and_scaled(operation, moving, factor, spec, "divisor")


def _of_classes(layer, arguments, signals, moving, spec):
    if len(moving) > 1 or moving[0] is not signals[0]:
        raise rules.refusal(layer, "its labels are not held fixed")
    factor = layer_rules.steepest_channel(layer.normalization, layer.gamma)
    return _scaled(moving, factor, spec, "|gamma| / sqrt(var + eps), any class")


def _unchanged(operation, arguments, signals, moving, spec):
    return _scaled(moving, 1.0, spec, "entries as they are")


def _padding(operation, arguments, signals, moving, spec):
    if getattr(operation, "mode", "constant") != "constant":
        raise rules.refusal(operation, "it repeats entries")
    if any(operation.pad_width[0]):
        raise rules.refusal(operation, "it pads the batch")
    return _unchanged(operation, arguments, signals, moving, spec)


def _reshaped(operation, arguments, signals, moving, spec):
    if math.prod(spec.shape[1:]) != moving[0].entries:
        raise rules.refusal(operation, "it mixes the examples of a batch")
    return _unchanged(operation, arguments, signals, moving, spec)


def _item(operation, arguments, signals, moving, spec):
    keys = (int, slice, type(None), type(Ellipsis))
    if not all(isinstance(key, keys) for key in arguments[1:]):
        raise rules.refusal(operation, "it may repeat entries")
    return _unchanged(operation, arguments, signals, moving, spec)


def _sum_over_axes(operation, arguments, signals, moving, spec):
    count = _reduced(moving, spec)
    return _scaled(moving, math.sqrt(count), spec, f"sum of {count}")


def _mean_over_axes(operation, arguments, signals, moving, spec):
    count = _reduced(moving, spec)
    return _scaled(moving, 1 / math.sqrt(count), spec, f"mean of {count}")


def _function(operation, arguments, signals, moving, spec):
    name = activations.of_class(type(operation).__name__)
    value = activations.constant(name)
    if name == "gelu" and operation.approximate:
        value = activations.APPROXIMATE_GELU
    if getattr(operation, _POSITIVE.get(name, ""), 0) < 0:
        raise rules.refusal(operation, f"its `{_POSITIVE[name]}` is negative")
    for attribute in ("negative_slope", "alpha"):
        if name in ("leaky_relu", "elu") and hasattr(operation, attribute):
            value = activations.leaky(getattr(operation, attribute))
    return _scaled(moving, value, spec, f"{name} {value:.4g}")


_LAYERS = {
    ConditionalBatchNormalization: _of_classes,
    layers.Add: _sum,
    layers.Average: _mean,
    layers.Concatenate: _side_by_side,
    layers.Dot: _product,
    layers.Maximum: _selection,
    layers.Minimum: _selection,
    layers.Multiply: _product,
    layers.Subtract: _sum,
}
# Arguments below 0 of which the constants of `activations` do not hold.
_POSITIVE = {"celu": "alpha", "soft_shrink": "threshold", "squareplus": "b"}
_OPERATIONS = {
    "Add": _sum,
    "Concatenate": _side_by_side,
    "Divide": _quotient,
    "GetItem": _item,
    "Max": _unchanged,
    "Maximum": _selection,
    "Mean": _mean_over_axes,
    "Min": _unchanged,
    "Minimum": _selection,
    "Multiply": _product,
    "Pad": _padding,
    "Reshape": _reshaped,
    "Stack": _side_by_side,
    "Subtract": _sum,
    "Sum": _sum_over_axes,
    "TrueDivide": _quotient,
    **dict.fromkeys(
        (
            "Absolute",
            "Cast",
            "Clip",
            "ExpandDims",
            "Flip",
            "Moveaxis",
            "Negative",
            "Squeeze",
            "StopGradient",
            "Swapaxes",
            "Transpose",
        ),
        _unchanged,
    ),
}


def _numbers(arguments):
    """Returns the arguments that are no tensors of the graph."""
    return [
        x
        for x in arguments
        if x is not None and not isinstance(x, signals_lib.Signal)
    ]


def _spread(operation, moving, spec):
    """Returns signals broadcast to a shape."""
    ranks = {len(signal.shape) for signal in moving}
    is_layer = isinstance(operation, keras.Layer)
    if not is_layer and ranks != {len(spec.shape)}:
        raise rules.refusal(operation, "it mixes the examples of a batch")
    return [signals_lib.broadcast(signal, spec) for signal in moving]


def _spread_and_scaled(operation, moving, factor, spec, how):
    (spread,) = _spread(operation, moving, spec)
    copies = signals_lib.copies(moving[0], spec)
    bound = rules.Bound(factor * math.sqrt(copies), how)
    return signals_lib.scaled(spread, factor, spec), bound


def _scaled(moving, factor, spec, how):
    """Returns a signal that alone changes, times a factor."""
    (signal,) = moving
    bound = rules.Bound(float(factor), how)
    return signals_lib.scaled(signal, bound.value, spec), bound


def _reduced(moving, spec):
    """Returns how many entries become one."""
    (signal,) = moving
    return signal.entries // math.prod(spec.shape[1:])


def _largest(operation, factor, inverse=False):
    """Returns the largest absolute entry of a constant, or of its inverse."""
    values = np.abs(arrays.of(factor))
    with np.errstate(divide="ignore"):
        found = float(np.max(1 / values if inverse else values))
    if not math.isfinite(found):
        raise rules.refusal(operation, "a constant is not finite")
    return found
