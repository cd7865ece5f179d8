"""Follows values of any kind through the graph of a model, call by call."""

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
            stand where tensors would. Models inside are gone through.

    Returns:
        A list of values, one for each output.
    """
    function = graph(model)
    if function is None:
        return keras.tree.flatten(call(model, *inputs))

    def call_or_enter(operation, *args, **kwargs):
        inner = graph(operation)
        if inner is None:
            return call(operation, *args, **kwargs)
        values = keras.tree.flatten((args, kwargs))
        outputs = run(inner, values[: len(inner.inputs)], call)
        return outputs if len(outputs) > 1 else outputs[0]

    return keras.tree.flatten(
        function._run_through_graph(inputs, call_fn=call_or_enter)
    )


def graph(operation):
    """Returns the `keras.Function` of a Functional or Sequential model.

    None for what is none. A model that holds more than its graph, as a
    subclass with a call of its own, is none.
    """
    kinds = (keras.Sequential, keras.Function)
    own_call = type(operation).call.__module__.startswith("keras.src.models")
    if not isinstance(operation, kinds) or not own_call:
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
        specs = [(shape, "float32") for shape in _build_shapes(model)]
    shapes = [shape for shape, _ in specs]
    if input_shape is not None:
        given = input_shape if isinstance(input_shape, list) else [input_shape]
        shapes = [(None, *shape) for shape in given]
    if len(shapes) != len(specs) or any(
        not _fits(shape, spec) for shape, (spec, _) in zip(shapes, specs)
    ):
        raise ValueError(
            "`input_shape` must give each input of the model one fixed size, "
            "without the batch, such as (32, 32, 3). Received: "
            f"input_shape={input_shape}, {model.name} with inputs of "
            f"{[tuple(spec) for spec, _ in specs]}"
        )
    return [
        keras.KerasTensor(shape, dtype)
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
        return operation.compute_output_spec(*args, **kwargs)

    run(model, input_specs(model, input_shape), call)
    return found


def plain(operation):
    """Returns the layer that computes, its kernels those of inference."""
    if isinstance(operation, kernel_normalization.KernelNormalization):
        return folding.fold(operation)
    return wrapped(operation)


def wrapped(operation):
    """Returns the layer inside one that normalises it, or the layer itself."""
    kinds = (kernel_normalization.KernelNormalization, SpectralNormalization)
    return operation.layer if isinstance(operation, kinds) else operation


def _build_shapes(layer):
    shapes = getattr(layer, "_build_shapes_dict", None) or {}
    return [
        shape
        for shape in shapes.values()
        if shape and not isinstance(shape[0], (list, tuple))
    ]


def _fits(shape, spec):
    return len(shape) == len(spec) and all(
        size is not None and expected in (None, size)
        for size, expected in zip(shape[1:], spec[1:])
    )
