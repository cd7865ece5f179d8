"""Folds normalised kernels into plain Keras layers, for serving."""

from keras import ops

from sngan_tf.layers import rebuilding
from sngan_tf.layers.kernel_normalization import KernelNormalization


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
    if isinstance(model, KernelNormalization):
        if not model.built:
            raise ValueError(
                f"The layer to fold must be built. Received: {model.name}"
            )
        folded = _plain_layer(model)
        folded.build_from_config(model.layer.get_build_config())
        folded.set_weights(_folded_weights(model))
        return folded

    def plain(layer):
        if isinstance(layer, KernelNormalization):
            return _plain_layer(layer)
        _check_no_wrapper_inside(layer)
        return None

    folded, pairs = rebuilding.rebuilt(model, "folded", plain)
    for layer, new_layer in pairs:
        new_layer.set_weights(_folded_weights(layer))
    return folded


def _plain_layer(wrapper):
    return rebuilding.clone(wrapper.layer, name=wrapper.name)


def _folded_weights(layer):
    if not isinstance(layer, KernelNormalization):
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
        if isinstance(sublayer, KernelNormalization):
            raise ValueError(
                "Only Functional and Sequential models can be folded. "
                f"Received: '{sublayer.name}' inside {type(layer).__name__} "
                f"'{layer.name}'"
            )
