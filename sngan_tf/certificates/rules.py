"""What is known of the slope of each kind of layer, and how to teach more."""

import math
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np

_RULES: dict[type, Callable] = {}
_REASONS: dict[type, str] = {}  # Why there is none.
_TAUGHT: dict[type | Callable, tuple] = {}


class Bound(NamedTuple):
    """A bound on how much a layer stretches a change of its inputs.

    Attributes:
        value: Of the 2-norm of the change of all outputs for one example, over
            that of all inputs.
        how: It was found, in a few words.
        rigorous: Whether it is proved, but for what was taught.
    """

    value: float
    how: str
    rigorous: bool = True


def register_lipschitz(
    kind: type[keras.Layer] | Callable,
    rule: float | Callable[[keras.Layer, tuple], float],
    rigorous: bool = False,
) -> None:
    """Teaches the Lipschitz constant of a layer or activation function.

    For all later `lipschitz_bounds`, and in place of what was known. A rule is
    of the very class, not of those derived from it, which may compute
    otherwise.

    Args:
        kind: A class of layers with one input, or an activation function.
        rule: Of a layer, a function `(layer, input_shape) -> bound`, called
            with the shape that it is called with, batch axis and all, as
            `(None, 32, 32, 3)`: a bound on the 2-norm of the change of the
            outputs over that of the inputs, for one example in inference. Of a
            normalised layer it is called with the plain one that `fold` makes.
            Of a function, the number.
        rigorous: Whether the rule is proved, for the table of the bounds.

    Raises:
        ValueError: On another kind or rule.

    Example:
        >>> register_lipschitz(Rotation, lambda layer, input_shape: 1.0)
    """
    is_layer = isinstance(kind, type) and issubclass(kind, keras.Layer)
    if not is_layer and (isinstance(kind, type) or not callable(kind)):
        raise ValueError(
            "`kind` must be a class of Keras layers or an activation function. "
            f"Received: kind={kind!r}"
        )
    if callable(rule) != is_layer or not (is_layer or _is_bound(rule)):
        needed = (
            "a function (layer, input_shape) -> bound"
            if is_layer
            else "a number of 0 or more"
        )
        raise ValueError(
            f"`rule` must be {needed} for {_name(kind)}. "
            f"Received: rule={rule!r}"
        )
    _TAUGHT[kind] = rule, bool(rigorous)


def rule_of(*classes):
    """Returns a decorator that makes a function the rule of Keras's layers."""

    def register(rule):
        _RULES.update(dict.fromkeys(classes, rule))
        return rule

    return register


def never(reason, *classes):
    """Says why layers of these classes have no bound."""
    _REASONS.update(dict.fromkeys(classes, reason))


def bound(layer, input_shape, *others):
    """Returns the `Bound` of a layer of one input.

    Args:
        layer: A built layer, plain.
        input_shape: Of the call, with batch axis.
        *others: Shapes of further inputs, of which no rule is known here.

    Raises:
        ValueError: If no finite one is known.
    """
    if type(layer) in _TAUGHT and not others:
        rule, rigorous = _TAUGHT[type(layer)]
        value = rule(layer, input_shape)
        if not _is_bound(value):
            raise ValueError(
                "A rule of `register_lipschitz` must return a finite number of "
                f"0 or more. Received: {value!r} for {described(layer)}"
            )
        return Bound(float(value), "registered", rigorous)
    if type(layer) in _REASONS:
        raise refusal(layer, _REASONS[type(layer)])
    if type(layer) not in _RULES or others:
        inputs = " of several inputs" if others else ""
        raise refusal(layer, f"no rule is known of this layer{inputs}")
    found = _RULES[type(layer)](layer, input_shape)
    check_finite(layer, found)
    return found


def check_finite(layer, found):
    """Raises the ValueError of a layer whose bound is not finite."""
    if not math.isfinite(found.value):
        raise refusal(layer, f"it is not finite ({found.how})")


def is_taught(layer):
    """Returns whether the class of a layer was taught."""
    return type(layer) in _TAUGHT


def taught(function):
    """Returns `(constant, rigorous)` of an activation that was taught."""
    try:
        return _TAUGHT.get(function)
    except TypeError:  # Not hashable.
        return None


def refusal(layer, why, function=None):
    """Returns the error of a layer, or of its activation, without a bound."""
    message = f"There is no Lipschitz bound of {described(layer)}: {why}"
    teach = f"{type(layer).__name__}, rule"
    if function:
        teach = f"{_name(function)}, constant"
    if isinstance(layer, keras.Layer):
        message += f"; `register_lipschitz({teach})` teaches one"
    return ValueError(message)


def described(layer):
    """Returns a layer or operation in words."""
    return f"{type(layer).__name__} '{layer.name}'"


def _name(kind):
    return getattr(kind, "__name__", kind)


def _is_bound(value):
    is_number = np.ndim(value) == 0 and np.asarray(value).dtype.kind in "iuf"
    return is_number and 0 <= float(value) < math.inf
