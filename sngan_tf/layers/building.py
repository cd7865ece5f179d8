"""Builds a layer for the inputs that its wrapper is called with."""

import inspect

import keras

from sngan_tf.layers import kernels


def build(layer, args, kwargs):
    """Builds an unbuilt layer for a call with these inputs.

    Keras hands the `build` of a wrapper the shape of the first input alone,
    which is not enough for layers of several inputs such as attention.

    Args:
        layer: A Keras layer.
        args: Of the call, the inputs.
        kwargs: Of the call; `training` may be there whether or not the layer
            takes it.
    """
    kwargs = {name: x for name, x in kwargs.items() if name != "training"}
    layer.build(**_shapes(layer, args, kwargs))
    unbuilt = any(not inner.built for inner in kernels.sublayers(layer))
    if unbuilt and not kernels.find_kernels(layer):
        # A custom layer without `build` makes its weights when called.
        layer.compute_output_spec(*args, **kwargs)


def first_positional(layer, args, kwargs):
    """Returns `(args, kwargs)` with the first input of a call in `args`.

    Keras looks there for the mask that an output gets.
    """
    if not args:
        first = next(iter(inspect.signature(layer.call).parameters))
        if first in kwargs:
            kwargs = dict(kwargs)
            args = (kwargs.pop(first),)
    return args, kwargs


def _shapes(layer, args, kwargs):
    """Returns the arguments of `layer.build` for a call with these inputs."""
    inputs = inspect.signature(layer.call).bind(*args, **kwargs).arguments
    names = list(inspect.signature(layer.build).parameters)

    def shape_of(x):
        return keras.tree.map_structure(_shape, x)

    if len(names) == 1:
        return {names[0]: shape_of(next(iter(inputs.values())))}
    given = {f"{name}_shape": value for name, value in inputs.items()}
    return {
        name: shape_of(given[name])
        for name in names
        if given.get(name) is not None
    }


def _shape(tensor):
    # JAX traces with symbols for sizes that are open.
    return tuple(
        size if isinstance(size, int) else None for size in tensor.shape
    )
