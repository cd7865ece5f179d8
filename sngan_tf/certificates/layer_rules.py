"""The slopes of Keras's layers of one input, each in its own words."""

import math

import keras
import numpy as np
from keras import layers

from sngan_tf.certificates import activations
from sngan_tf.certificates import arrays
from sngan_tf.certificates import kernel_norms
from sngan_tf.certificates import rules
from sngan_tf.certificates import walk
from sngan_tf.layers import kernels

_UNCHANGED = (
    layers.ActivityRegularization,
    layers.AlphaDropout,
    layers.Cropping1D,
    layers.Cropping2D,
    layers.Cropping3D,
    layers.Dropout,
    layers.Flatten,
    layers.GaussianDropout,
    layers.GaussianNoise,
    layers.Identity,
    layers.Permute,
    layers.Reshape,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.SpatialDropout3D,
    layers.ZeroPadding1D,
    layers.ZeroPadding2D,
    layers.ZeroPadding3D,
)
_AVERAGE_POOLING = (
    layers.AveragePooling1D,
    layers.AveragePooling2D,
    layers.AveragePooling3D,
)
_MAX_POOLING = (
    layers.MaxPooling1D,
    layers.MaxPooling2D,
    layers.MaxPooling3D,
)
_GLOBAL_AVERAGE_POOLING = (
    layers.GlobalAveragePooling1D,
    layers.GlobalAveragePooling2D,
    layers.GlobalAveragePooling3D,
)
_GLOBAL_MAX_POOLING = (
    layers.GlobalMaxPooling1D,
    layers.GlobalMaxPooling2D,
    layers.GlobalMaxPooling3D,
)
_UPSAMPLING = (
    layers.UpSampling1D,
    layers.UpSampling2D,
    layers.UpSampling3D,
)
_ATTENTION = (
    layers.AdditiveAttention,
    layers.Attention,
    layers.GroupQueryAttention,
    layers.MultiHeadAttention,
)
# A constant input of these has an output that is no longer than it times the
# bound: they add nothing.
LINEAR = (*_UNCHANGED, *_UPSAMPLING, layers.RepeatVector)


@rules.rule_of(*_UNCHANGED)
def _unchanged(layer, input_shape):
    return rules.Bound(1.0, "entries as they are")


@rules.rule_of(
    layers.Dense,
    layers.EinsumDense,
    *kernels.CONVOLUTIONS,
    *kernels.DEPTHWISE,
    *kernels.TRANSPOSED,
)
def _with_kernel(layer, input_shape):
    bound = _kernel_bound(layer, layer.kernel, input_shape)
    return _then_activation(layer, bound, input_shape)


@rules.rule_of(*kernels.SEPARABLE)
def _separable(layer, input_shape):
    depthwise = _kernel_bound(layer, layer.depthwise_kernel, input_shape)
    pointwise = _kernel_bound(layer, layer.pointwise_kernel, input_shape)
    bound = rules.Bound(
        depthwise.value * pointwise.value,
        f"{depthwise.how} x {pointwise.how}",
    )
    return _then_activation(layer, bound, input_shape)


@rules.rule_of(layers.SimpleRNN)
def _simple_recurrence(layer, input_shape):
    if layer.return_state or layer.stateful:
        raise rules.refusal(layer, "it hands states on")
    cell = layer.cell
    states = (None, cell.units)
    function = _activation_bound(layer, cell.activation, states)
    norms = [
        function.value * _kernel_bound(cell, kernel, None).value
        for kernel in (cell.kernel, cell.recurrent_kernel)
    ]
    value = activations.simple_recurrence(
        *norms, input_shape[1], layer.return_sequences
    )
    return rules.Bound(
        value, f"svd over {input_shape[1]} steps", function.rigorous
    )


@rules.rule_of(layers.TimeDistributed)
def _at_each_time(layer, input_shape):
    inside = (input_shape[0], *input_shape[2:])
    return rules.bound(walk.plain(layer.layer), inside)


@rules.rule_of(layers.Activation)
def _activation(layer, input_shape):
    return _activation_bound(layer, layer.activation, input_shape)


@rules.rule_of(layers.ReLU)
def _relu(layer, input_shape):
    if layer.threshold:
        raise rules.refusal(layer, "with a `threshold` it jumps")
    return _slope(layer.negative_slope)


@rules.rule_of(layers.LeakyReLU)
def _leaky_relu(layer, input_shape):
    return _slope(layer.negative_slope)


@rules.rule_of(layers.PReLU)
def _prelu(layer, input_shape):
    return _slope(np.max(np.abs(arrays.of(layer.alpha))))


@rules.rule_of(layers.ELU)
def _elu(layer, input_shape):
    return _slope(layer.alpha)


@rules.rule_of(layers.Softmax)
def _softmax(layer, input_shape):
    return rules.Bound(activations.constant("softmax"), "activation")


@rules.rule_of(layers.Rescaling)
def _rescaling(layer, input_shape):
    for numbers in (layer.scale, layer.offset):
        shape = np.broadcast_shapes(np.shape(numbers), (1, *input_shape[1:]))
        if shape != (1, *input_shape[1:]):
            raise rules.refusal(layer, "its numbers give it another shape")
    scale = np.max(np.abs(np.asarray(layer.scale, np.float64)))
    return rules.Bound(float(scale), "largest factor")


@rules.rule_of(layers.BatchNormalization)
def _batch_normalization(layer, input_shape):
    gamma = 1.0 if layer.gamma is None else layer.gamma
    return rules.Bound(
        steepest_channel(layer, gamma), "|gamma| / sqrt(var + eps)"
    )


@rules.rule_of(
    layers.LayerNormalization,
    layers.GroupNormalization,
    layers.RMSNormalization,
)
def _statistics_of_the_example(layer, input_shape):
    # The slope is largest, 1 / sqrt(eps), where all entries are alike, or
    # zero: a large bound, but one.
    if getattr(layer, "rms_scaling", False):
        raise rules.refusal(
            layer, "`rms_scaling` divides what it has not centred"
        )
    gamma = getattr(layer, "gamma", None)
    gamma = getattr(layer, "scale", None) if gamma is None else gamma
    largest = 1.0
    if gamma is not None and not isinstance(gamma, bool):
        largest = float(np.max(np.abs(arrays.of(gamma))))
    root = math.sqrt(layer.epsilon)
    value = largest / root if root else math.inf
    return rules.Bound(value, "|gamma| / sqrt(eps)")


@rules.rule_of(*_AVERAGE_POOLING)
def _average_pooling(layer, input_shape):
    # A mean over windows is one over each axis in turn.
    norms = [
        np.linalg.norm(_means(windows), 2)
        for windows in _windows(layer, input_shape)
    ]
    return rules.Bound(float(np.prod(norms)), "svd along each axis")


@rules.rule_of(*_MAX_POOLING)
def _max_pooling(layer, input_shape):
    # Each input counts at most once in each window that it is in.
    overlap = math.prod(
        int(np.max(np.sum(windows, axis=0)))
        for windows in _windows(layer, input_shape)
    )
    return rules.Bound(math.sqrt(overlap), f"windows overlap {overlap} times")


@rules.rule_of(*_GLOBAL_AVERAGE_POOLING)
def _global_average_pooling(layer, input_shape):
    count = math.prod(_spatial(layer, input_shape))
    return rules.Bound(1 / math.sqrt(count), f"mean of {count}")


@rules.rule_of(*_GLOBAL_MAX_POOLING)
def _global_max_pooling(layer, input_shape):
    return rules.Bound(1.0, "largest entries")


@rules.rule_of(*_UPSAMPLING)
def _upsampling(layer, input_shape):
    if getattr(layer, "interpolation", "nearest") != "nearest":
        raise rules.refusal(layer, "no rule is known of its `interpolation`")
    size = layer.size if isinstance(layer.size, tuple) else (layer.size,)
    copies = math.prod(size)
    return rules.Bound(math.sqrt(copies), f"{copies} copies")


@rules.rule_of(layers.RepeatVector)
def _repeat(layer, input_shape):
    return rules.Bound(math.sqrt(layer.n), f"{layer.n} copies")


rules.never("dot-product attention has no Lipschitz constant", *_ATTENTION)


def steepest_channel(normalization, gamma):
    """Returns the slope of batch norm in inference with a scale."""
    variance = arrays.of(normalization.moving_variance)
    deviation = np.sqrt(variance + normalization.epsilon)
    return float(np.max(np.abs(arrays.of(gamma)) / deviation))


def check_plain(layer):
    """Raises the ValueError of a layer whose weights are not all it has."""
    if layer.quantization_mode or getattr(layer, "lora_rank", None):
        raise rules.refusal(layer, "it is quantized or has LoRA")


def _kernel_bound(layer, kernel, input_shape):
    check_plain(layer)
    value = arrays.of_kernel(layer, kernel)
    return rules.Bound(*kernel_norms.upper(layer, kernel, value, input_shape))


def _then_activation(layer, bound, input_shape):
    outputs = tuple(layer.compute_output_shape(input_shape))
    function = _activation_bound(layer, layer.activation, outputs)
    if function.value == 1.0:
        return bound._replace(rigorous=function.rigorous)
    return rules.Bound(
        bound.value * function.value,
        f"{bound.how}, {function.how}",
        function.rigorous,
    )


def _activation_bound(layer, function, input_shape):
    if taught := rules.taught(function):
        constant, rigorous = taught
        return rules.Bound(float(constant), "registered", rigorous)
    if isinstance(function, keras.Layer):
        if not function.built:
            raise rules.refusal(layer, f"its {function.name} is not built")
        if tuple(function.compute_output_shape(input_shape)) != input_shape:
            raise rules.refusal(layer, f"its {function.name} changes shapes")
        return rules.bound(function, input_shape)
    name = activations.name_of(function)
    constant = activations.constant(name)
    if constant is None:
        shown = getattr(function, "__name__", function)
        raise rules.refusal(
            layer, f"no constant is known of its activation {shown}", function
        )
    return rules.Bound(constant, f"{name} {constant:.4g}")


def _slope(slope):
    return rules.Bound(activations.leaky(slope), "largest slope")


def _spatial(layer, input_shape):
    first = layer.data_format == "channels_first"
    return input_shape[2:] if first else input_shape[1:-1]


def _windows(layer, input_shape):
    """Yields which inputs are in each window along each axis, booleans."""
    for size, pool, stride in zip(
        _spatial(layer, input_shape), layer.pool_size, layer.strides
    ):
        if layer.padding == "same":
            count = -(-size // stride)
            before = max((count - 1) * stride + pool - size, 0) // 2
        else:
            count, before = (size - pool) // stride + 1, 0
        first = np.arange(count)[:, None] * stride - before
        at = np.arange(size)
        yield (first <= at) & (at < first + pool)


def _means(windows):
    return windows / np.sum(windows, axis=1, keepdims=True)
