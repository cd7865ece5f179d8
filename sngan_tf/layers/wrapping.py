"""Normalises the kernels of a whole model."""

import re
from collections.abc import Callable
from typing import Any

import keras

from sngan_tf.layers import guards
from sngan_tf.layers import kernels
from sngan_tf.layers import rebuilding
from sngan_tf.layers.kernel_normalization import KernelNormalization
from sngan_tf.layers.spectral_normalization import SpectralNormalization


def wrap(
    model: keras.Model,
    wrapper: Callable[..., KernelNormalization] = SpectralNormalization,
    layers: str | None = None,
    **kwargs: Any,
) -> keras.Model:
    """Returns the same model with every layer that has kernels normalised.

    A wrapped layer keeps its name and weights; `u` and a learned scale are
    settled on them. Layers that are normalised already, or have such inside,
    stay as they are. `fold` undoes it, up to the division.

    Args:
        model: A built Functional or Sequential model.
        wrapper: `SpectralNormalization`, or another normalization of kernels.
        layers: Regular expression that a layer's name must hold a match of to
            be wrapped, such as `"conv"` or `"^dense_2$"`; None wraps all. A
            layer that holds others goes by its own name.
        **kwargs: Of the wrapper, such as `power_iterations` and `bound`.

    Returns:
        A new model, compiled as the given one is, with a fresh optimizer. The
        given one is left alone.

    Raises:
        ValueError: If the model is not built, of another kind, or has no
            layer to wrap, on a wrong regular expression, and what the wrapper
            raises.

    Example:
        >>> discriminator = wrap(discriminator, layers="conv")
    """
    matches = _compiled(layers).search
    names = []

    def wrapped(layer):
        if matches(layer.name) and not kwargs.get("output_axes"):
            # No kernel would be found in one with LoRA.
            for sublayer in kernels.sublayers(layer):
                guards.check_kernel_alone(sublayer)
        if not _has_bare_kernels(layer, kwargs.get("output_axes")):
            return None
        names.append(layer.name)
        if not matches(layer.name):
            return None
        new_layer = wrapper(rebuilding.clone(layer), name=layer.name, **kwargs)
        if not isinstance(new_layer, KernelNormalization):
            raise ValueError(
                "`wrapper` must be a normalization of sngan_tf.layers. "
                f"Received: wrapper={wrapper}"
            )
        return new_layer

    new_model, pairs = rebuilding.rebuilt(model, "wrapped", wrapped)
    if not any(matches(name) for name in names):
        raise ValueError(
            "`layers` must match the name of a layer with kernels that are "
            f"not normalised yet. Received: layers={layers!r}, such layers of "
            f"{model.name}: {names}"
        )
    for layer, new_layer in pairs:
        weights = layer.get_weights()
        if type(new_layer) is type(layer):
            new_layer.set_weights(weights)
        else:
            new_layer.layer.set_weights(weights)
            new_layer.settle()
    return new_model


def _compiled(pattern):
    try:
        return re.compile(pattern or "")
    except re.error as error:
        raise ValueError(
            f"`layers` must be a regular expression ({error}). "
            f"Received: layers={pattern!r}"
        ) from error


def _has_bare_kernels(layer, output_axes):
    return bool(kernels.find_kernels(layer, output_axes)) and not any(
        isinstance(sublayer, KernelNormalization)
        for sublayer in kernels.sublayers(layer)
    )
