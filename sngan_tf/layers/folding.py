"""Folds normalised kernels into plain Keras layers, for serving."""

import keras
from keras import ops

from sngan_tf.layers import kernel_normalization


def fold(model):
    """Returns the same model of plain layers that hold normalised kernels.

    A kernel is `bound * W / sigma(W)`, or what another normalization makes.

    Args:
        model: A built Functional or Sequential model, or one normalised
            layer (`SpectralNormalization`, `WeightNormalization`, ...).

    Returns:
        A new model (or layer) with equal inference outputs and no wrapper and
        no `u`; it loads without sngan_tf if its other layers do. The given
        one is left alone.

    Raises:
        ValueError: If the model is not built, or a wrapper sits where it
            cannot be replaced, inside a layer or a subclassed model.
    """
    if not model.built:
        raise ValueError(
            f"The model to fold must be built. Received: {model.name}"
        )
    if isinstance(model, kernel_normalization.KernelNormalization):
        folded = _plain_layer(model)
        folded.build_from_config(model.layer.get_build_config())
        folded.set_weights(_folded_weights(model))
        return folded
    if not isinstance(model, (keras.Sequential, keras.Function)):
        raise ValueError(
            "Only Functional and Sequential models can be folded. "
            f"Received: {type(model).__name__} '{model.name}'"
        )
    clones = []

    def clone_layer(layer):
        if not isinstance(layer, keras.Layer):  # An operation of `keras.ops`.
            return type(layer).from_config(layer.get_config())
        if isinstance(layer, kernel_normalization.KernelNormalization):
            clone = _plain_layer(layer)
        else:
            _check_no_wrapper_inside(layer)
            clone = type(layer).from_config(layer.get_config())
        clones.append((layer, clone))
        return clone

    folded = keras.models.clone_model(
        model, clone_function=clone_layer, recursive=True
    )
    for layer, clone in clones:
        clone.set_weights(_folded_weights(layer))
    return folded


def _plain_layer(wrapper):
    layer = wrapper.layer
    return type(layer).from_config({**layer.get_config(), "name": wrapper.name})


def _folded_weights(layer):
    if not isinstance(layer, kernel_normalization.KernelNormalization):
        return layer.get_weights()
    by_id = {
        id(kernel): ops.convert_to_numpy(value)
        for kernel, value in zip(layer.kernels, layer.normalized_kernels())
    }
    return [
        by_id.get(id(weight), ops.convert_to_numpy(weight))
        for weight in layer.layer.weights
    ]


def _check_no_wrapper_inside(layer):
    for sublayer in layer._flatten_layers(include_self=False):
        if isinstance(sublayer, kernel_normalization.KernelNormalization):
            raise ValueError(
                "Only Functional and Sequential models can be folded. "
                f"Received: '{sublayer.name}' inside {type(layer).__name__} "
                f"'{layer.name}'"
            )
