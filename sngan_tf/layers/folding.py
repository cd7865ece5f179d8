"""Folds normalised kernels into plain Keras layers, for serving."""

import contextlib
import itertools
from typing import overload

import keras

from sngan_tf.layers import kernels
from sngan_tf.layers import naming
from sngan_tf.layers import rebuilding
from sngan_tf.layers.kernel_normalization import KernelNormalization


@overload
def fold(model: KernelNormalization) -> keras.Layer: ...
@overload
def fold(model: keras.Model) -> keras.Model: ...
def fold(model: keras.Layer) -> keras.Layer:
    """Returns the same model of plain layers that hold normalised kernels.

    A kernel is `bound * W / sigma(W)`, or what another normalization makes.
    A layer has the name that the wrapper was given, or else that of the
    wrapped layer, with a number where the model has that name already.

    Args:
        model: A built Functional or Sequential model, or one normalised
            layer (`SpectralNormalization`, `WeightNormalization`, ...). Layers
            that hold a normalised one, such as `TimeDistributed`, are folded
            if their config says so.

    Returns:
        A new model (or layer) with equal inference outputs and no wrapper and
        no `u`; it loads without sngan_tf if its other layers do. It is not
        compiled, so no optimizer is saved with it. The given one is left
        alone.

    Raises:
        ValueError: If the model is not built, or a wrapper sits where it
            cannot be replaced: in a subclassed model, or in a layer whose
            config does not hold it.
    """
    if isinstance(model, KernelNormalization):
        if not model.built:
            raise ValueError(
                f"The layer to fold must be built. Received: {model.name}"
            )
        name = _folded_name(model.name, type(model), model.layer.name)
        folded = rebuilding.clone(model.layer, name=name)
        folded.build_from_config(model.layer.get_build_config())
        _set_folded_weights(folded, model)
        return folded

    names = _folded_names(model)

    def plain(layer):
        if isinstance(layer, KernelNormalization):
            return rebuilding.clone(layer.layer, name=names[id(layer)])
        return _plain_holder(layer) if _wrappers(layer) else None

    with _not_compiled(model):
        folded, pairs = rebuilding.rebuilt(model, "folded", plain)
    for layer, new_layer in pairs:
        _set_folded_weights(new_layer, layer)
    return folded


def _wrappers(layer):
    return [
        sublayer
        for sublayer in kernels.sublayers(layer)
        if isinstance(sublayer, KernelNormalization)
    ]


def _folded_name(name, wrapper_class, layer_name):
    return layer_name if naming.is_automatic(name, wrapper_class) else name


def _folded_names(model):
    """Returns `{id(wrapper): name}`, each another than all that stay."""
    wrappers = _wrappers(model)
    wrapped = {id(x) for w in wrappers for x in kernels.sublayers(w.layer)}
    gone = wrapped | {id(wrapper) for wrapper in wrappers}
    taken = {x.name for x in kernels.sublayers(model) if id(x) not in gone}
    names = {}
    # Those that were given a name come first to it.
    for given in (True, False):
        for wrapper in wrappers:
            name = wrapper.name
            if naming.is_automatic(name, type(wrapper)) == given:
                continue
            if not given:
                name = naming.unique(wrapper.layer.name, taken)
            taken.add(name)
            names[id(wrapper)] = name
    return names


def _set_folded_weights(new_layer, layer):
    """Copies the weights of a layer, kernels as inference uses them."""
    values = {}
    for wrapper in _wrappers(layer):
        for kernel, value in zip(wrapper.kernels, wrapper.normalized_kernels()):
            values[id(kernel)] = value
    # A wrapper lists the kernels among its own weights, in another order.
    pairs = zip(
        _plain_sublayers(layer), _plain_sublayers(new_layer), strict=True
    )
    for old, new in pairs:
        for weight, new_weight in zip(_own(old), _own(new), strict=True):
            new_weight.assign(values.get(id(weight), weight))


def _plain_sublayers(layer):
    """Returns the layer and those inside, depth first, without wrappers."""
    if isinstance(layer, KernelNormalization):
        return _plain_sublayers(layer.layer)
    inside = [_plain_sublayers(sublayer) for sublayer in layer._layers]
    return [layer, *itertools.chain.from_iterable(inside)]


def _own(layer):
    return layer._trainable_variables + layer._non_trainable_variables


def _plain_holder(layer):
    """Returns an unbuilt layer that holds plain layers in place of wrappers."""
    # What Keras raises where a layer has no config, or one of no use.
    with contextlib.suppress(NotImplementedError, TypeError):
        holder = type(layer).from_config(_plain_config(layer.get_config()))
        if not _wrappers(holder):
            return holder
    inside = _wrappers(layer)[0]
    wrapper, holder = type(inside).__name__, type(layer).__name__
    raise ValueError(
        "Only Functional and Sequential models can be folded, and layers whose "
        f"config holds the wrapper; normalise others whole, as {wrapper}"
        f"({holder}(...)). Received: '{inside.name}' inside {holder} "
        f"'{layer.name}'"
    )


def _plain_config(config):
    """Returns a layer's config, of wrappers inside only the wrapped layer.

    What is inside is left for the layer to build.
    """
    if isinstance(config, list):
        return [_plain_config(item) for item in config]
    if not isinstance(config, dict):
        return config
    wrapper_class = keras.saving.get_registered_object(
        config.get("registered_name")
    )
    if _is_wrapper_class(wrapper_class):
        wrapper, config = config["config"], config["config"]["layer"]
        name = _folded_name(
            wrapper["name"], wrapper_class, config["config"]["name"]
        )
        config = {**config, "config": {**config["config"], "name": name}}
    return {
        key: _plain_config(value)
        for key, value in config.items()
        if key != "build_config"
    }


def _is_wrapper_class(x):
    return isinstance(x, type) and issubclass(x, KernelNormalization)


@contextlib.contextmanager
def _not_compiled(model):
    """Keeps Keras from compiling what it clones, a new optimizer and all."""
    compiled = [
        layer
        for layer in kernels.sublayers(model)
        if getattr(layer, "compiled", False)
    ]
    for layer in compiled:
        layer.compiled = False
    try:
        yield
    finally:
        for layer in compiled:
            layer.compiled = True
