"""The same model of other layers: what `wrap` and `fold` share."""

import keras


def rebuilt(model, verb, replace):
    """Returns a model of new layers, connected as those of another.

    Shared layers stay shared, and models inside are rebuilt too.

    Args:
        model: A built Functional or Sequential model.
        verb: What is done to it, in the past, for messages.
        replace: `(layer) -> layer`, an unbuilt one that takes the place of a
            layer, or None for a clone of it.

    Returns:
        `(new_model, pairs)`, the pairs of each layer and its new one; weights
        are those of initializers.

    Raises:
        ValueError: If the model is not built or of another kind.
    """
    if not model.built:
        raise ValueError(
            f"The model must be built to be {verb}. Received: {model.name}"
        )
    if not isinstance(model, (keras.Sequential, keras.Function)):
        raise ValueError(
            f"Only Functional and Sequential models can be {verb}. "
            f"Received: {type(model).__name__} '{model.name}'"
        )
    pairs = []

    def clone_layer(layer):
        if not isinstance(layer, keras.Layer):  # An operation of `keras.ops`.
            return clone(layer)
        new_layer = replace(layer) or clone(layer)
        pairs.append((layer, new_layer))
        return new_layer

    new_model = keras.models.clone_model(
        model, clone_function=clone_layer, recursive=True
    )
    return new_model, pairs


def clone(layer, **overrides):
    """Returns an unbuilt layer of the same config, but for what is given."""
    return type(layer).from_config({**layer.get_config(), **overrides})
