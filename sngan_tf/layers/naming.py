"""Names of layers, as Keras makes them."""

import itertools
import re


def unique(name, taken):
    """Returns the name, with the first free number where it is taken.

    Args:
        name: Such as `"dense"`.
        taken: A set of names.
    """
    if name not in taken:
        return name
    numbered = (f"{name}_{i}" for i in itertools.count(1))
    return next(n for n in numbered if n not in taken)


def is_automatic(name, layer_class):
    """Returns whether a name is one that Keras gives unasked to a layer."""
    words = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", layer_class.__name__)
    words = re.sub("([a-z])([A-Z])", r"\1_\2", words).lower()
    return re.fullmatch(rf"{words}(_\d+)?", name) is not None
