"""Follows values of any kind through the graph of a model, call by call."""

import numbers

import keras
from keras.layers import SpectralNormalization

from sngan_tf.layers import folding
from sngan_tf.layers import kernel_normalization


def run(model, inputs, call):
    """Returns what comes out where `inputs` go into a model.

    Args:
        model: A built Functional or Sequential model, or a single layer.
        inputs: A list of values, one for each input of the model.
        call: `(operation, *args, **kwargs) -> output or outputs`, in the place
            of the call of each layer and each operation of `keras.ops`; values
            stand where tensors would, and have their `shape` and `dtype`.
            Models inside are gone through, but for those that would first
            round their inputs to integers or give them another rank.

    Returns:
        A list of values, one for each output.
    """
    function = graph(model)
    if function is None:
        return keras.tree.flatten(call(model, *inputs))

    def call_or_enter(operation, *args, **kwargs):
        inner = graph(operation)
        if inner is None or kwargs.get("training"):
            return call(operation, *args, **kwargs)
        values = keras.tree.flatten((args, kwargs))[: len(inner.inputs)]
        if not all(map(_enters_as_it_is, values, inner.inputs)):
            return call(operation, *args, **kwargs)
        outputs = run(inner, values, call)
        return outputs if len(outputs) > 1 else outputs[0]

    return keras.tree.flatten(
        function._run_through_graph(
            inputs,
            operation_fn=lambda operation: operation,
            call_fn=call_or_enter,
        )
    )


def graph(operation):
    """Returns the `keras.Function` of a Functional or Sequential model.

    None for what is none. A model that holds more than its graph, as a
    subclass with a call of its own, is none.
    """
    if not isinstance(operation, (keras.Sequential, keras.Function)):
        return None
    if not type(operation).call.__module__.startswith("keras.src.models"):
        return None
    if isinstance(operation, keras.Sequential):
        return operation._functional
    return operation


def input_specs(model, input_shape=None):
    """Returns a `KerasTensor` for each input, of one size but for the batch.

    Args:
        model: As of `run`, built.
        input_shape: Of one example, as `(32, 32, 3)`, or a list of such for
            several inputs; None for that of the model.

    Raises:
        ValueError: If a size is open, or another than the model's.
    """
    function = graph(model)
    if function is not None:
        specs = [(tensor.shape, tensor.dtype) for tensor in function.inputs]
    else:
        specs = [(shape, "float32") for shape in build_shapes(model)]
    shapes = [tuple(shape[1:]) for shape, _ in specs]
    if input_shape is not None:
        shapes = input_shape if isinstance(input_shape, list) else [input_shape]
    if len(shapes) != len(specs) or not all(
        _fits(shape, spec[1:]) for shape, (spec, _) in zip(shapes, specs)
    ):
        raise ValueError(
            "`input_shape` must give each input of the model one fixed size, "
            "without the batch, such as (32, 32, 3). Received: "
            f"input_shape={input_shape}, {model.name} with inputs of "
            f"{[tuple(spec) for spec, _ in specs]}"
        )
    return [
        keras.KerasTensor((None, *shape), dtype)
        for shape, (_, dtype) in zip(shapes, specs)
    ]


def input_shapes(model, input_shape=None):
    """Returns `{id(layer): shapes}`, of the first input of each of its calls.

    Of a normalised layer also under that of the layer inside.

    Args:
        model: As of `run`. For one that has no graph the result is empty.
        input_shape: As of `input_specs`.

    Raises:
        ValueError: As `input_specs`.
    """
    if graph(model) is None:
        return {}
    found = {}

    def call(operation, *args, **kwargs):
        first = keras.tree.flatten((args, kwargs))[0]
        for identity in {id(operation), id(wrapped(operation))}:
            found.setdefault(identity, []).append(tuple(first.shape))
        return output_spec(operation, args, kwargs)

    run(model, input_specs(model, input_shape), call)
    return found


def output_spec(operation, args, kwargs):
    """Returns the `KerasTensor` of each output of a call.

    Raises:
        ValueError: On inputs that it can't be called with, as of a size below
            that of its kernel, by its name.
    """
    try:
        return operation.compute_output_spec(*args, **kwargs)
    except ValueError as error:
        inputs = keras.tree.flatten((args, kwargs))
        sizes = [tuple(x.shape) for x in inputs if hasattr(x, "shape")]
        raise ValueError(
            f"{type(operation).__name__} must be callable with its inputs. "
            f"Received: {operation.name} with shapes {sizes}; "
            f"{str(error).splitlines()[0]}"
        ) from error


def plain(operation):
    """Returns the layer that computes, its kernels those of inference."""
    layer = wrapped(operation)
    # Keras's own has assigned to the kernel what it computes with.
    if layer is operation or isinstance(operation, SpectralNormalization):
        return layer
    return folding.fold(operation)


def wrapped(operation):
    """Returns the layer inside one that normalises it, or the layer itself."""
    kinds = (kernel_normalization.KernelNormalization, SpectralNormalization)
    # What is derived from them may call the layer otherwise.
    calls = [kind.call for kind in kinds]
    is_wrapper = isinstance(operation, kinds) and type(operation).call in calls
    return operation.layer if is_wrapper else operation


def build_shapes(layer):
    """Returns the shape of each input that a layer was built with."""
    shapes = getattr(layer, "_build_shapes_dict", None) or {}
    return [
        shape
        for shape in shapes.values()
        if shape and not isinstance(shape[0], (list, tuple))
    ]


def _fits(shape, spec):
    return (
        isinstance(shape, (tuple, list))
        and len(shape) == len(spec)
        and all(
            isinstance(size, numbers.Integral)
            and size > 0
            and expected in (None, size)
            for size, expected in zip(shape, spec)
        )
    )


def _enters_as_it_is(value, tensor):
    is_float = map(keras.backend.is_float_dtype, (value.dtype, tensor.dtype))
    return len({*is_float}) == 1 and len(value.shape) == len(tensor.shape)
