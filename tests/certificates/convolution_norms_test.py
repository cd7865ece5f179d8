"""Norms of convolutions against the matrices of the layers that really run."""

import itertools
import math

import numpy as np
import operators
import pytest
from keras import layers
from keras import ops

from sngan_tf.certificates import convolution_norms
from sngan_tf.layers import convolution as convolution_lib

SAME = {"padding": "same"}


def built(layer, shape):
    """The layer with a kernel of normal numbers."""
    layer.build((None, *shape))
    values = np.random.default_rng(0).normal(size=layer.kernel.shape)
    layer.kernel.assign(values)
    return layer


def map_of(layer):
    convolution = convolution_lib.of_kernel(layer, layer.kernel)
    matrices = convolution.matrices(ops.convert_to_tensor(layer.kernel))
    return convolution, np.asarray(ops.convert_to_numpy(matrices), "float64")


def drawn(kind, seed):
    """A layer of random arguments, and the shape of one example."""
    rng = np.random.default_rng(seed)
    rank = int(rng.integers(1, 3 if kind.startswith("Depthwise") else 4))
    kernel_size = rng.integers(1, 6 - rank, rank) + (rank < 3)
    strides, dilation = max(rng.integers(-1, 4), 1), 1
    if strides == 1 and rank < 3:
        dilation = rng.integers(1, 3)
    groups = int(rng.integers(1, 4)) if kind == "Conv" and rank == 2 else 1
    padding = ["same", "valid"][rng.integers(2)]
    if kind == "Conv" and rank == 1 and rng.integers(2):
        padding = "causal"
    size = rng.integers(2, 9 if rank < 3 else 5, rank)
    if padding == "valid" and not kind.endswith("Transpose"):
        size += (kernel_size - 1) * dilation
    arguments = {
        "kernel_size": tuple(map(int, kernel_size)),
        "strides": int(strides),
        "dilation_rate": int(dilation),
        "padding": padding,
    }
    channels = groups * int(rng.integers(1, 4))
    if kind == "DepthwiseConv":
        arguments["depth_multiplier"] = int(rng.integers(1, 3))
    else:
        arguments["filters"] = groups * int(rng.integers(1, 4))
    if groups > 1:
        arguments["groups"] = groups
    name = kind.replace("Conv", f"Conv{rank}D")
    return getattr(layers, name)(**arguments), (*map(int, size), channels)


def circular_norm(convolution, matrices):
    """The norm around a circle that holds the padded input, written out."""
    axes, (groups, _, filters) = convolution.axes, matrices.shape
    sizes = []
    for axis in axes:
        reach = (axis.kernel_size - 1) * axis.dilation
        last = (axis.output_size - 1) * axis.stride + reach
        end = max(axis.pad_before + axis.input_size, last + 1)
        sizes.append(math.ceil(end / axis.stride))
    taps = [*itertools.product(*(range(axis.kernel_size) for axis in axes))]
    channels = matrices.shape[1] // len(taps)
    whole = [size * axis.stride for size, axis in zip(sizes, axes)]
    norms = []
    for matrix in matrices.reshape(groups, len(taps), channels, filters):
        dense = np.zeros((*sizes, filters, *whole, channels))
        for position in np.ndindex(*sizes):
            for tap, part in zip(taps, matrix):
                at = tuple(
                    (p * axis.stride + t * axis.dilation) % n
                    for p, t, n, axis in zip(position, tap, whole, axes)
                )
                index = (*position, slice(None), *at)
                dense[index] += part.T
        rows = math.prod(sizes) * filters
        norms.append(np.linalg.norm(dense.reshape(rows, -1), 2))
    return max(norms)


@pytest.mark.one_backend
@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", ["Conv", "ConvTranspose", "DepthwiseConv"])
def test_bounds_hold_on_random_layers(kind, seed):
    layer, shape = drawn(kind, seed)
    built(layer, shape)
    truth = operators.norm(layer, shape)
    if math.prod(layer.kernel_size) == 1 and kind != "DepthwiseConv":
        assert convolution_lib.of_kernel(layer, layer.kernel) is None
        return
    convolution, matrices = map_of(layer)
    lower = convolution_norms.from_below(convolution, matrices)
    gram = convolution_norms.from_gram(convolution, matrices, lower)
    fourier = convolution_norms.from_frequencies(convolution, matrices)
    assert truth == pytest.approx(gram, rel=1e-5)
    assert truth == pytest.approx(lower, rel=1e-4)
    assert lower <= gram
    assert gram <= fourier * (1 + 1e-7)
    expected = circular_norm(convolution, matrices)
    assert fourier == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (layers.Conv2D(4, 3, **SAME), (8, 8, 6)),
        (layers.Conv2D(4, 5, **SAME), (2, 1, 3)),
        (
            layers.Conv2D(4, 4, strides=2, data_format="channels_first"),
            (3, 7, 6),
        ),
        (layers.Conv2DTranspose(3, 4, strides=2, **SAME), (4, 3, 2)),
    ],
    ids=["same", "kernel_past_input", "channels_first", "transposed"],
)
def test_bounds_hold_on_any_backend(layer, shape):
    layer = type(layer).from_config(layer.get_config())
    truth = operators.norm(built(layer, shape), shape)
    convolution, matrices = map_of(layer)
    lower, upper, how = convolution_norms.bounds(convolution, matrices)
    assert how == "svd of the map"
    assert lower <= upper
    np.testing.assert_allclose([lower, upper], truth, rtol=1e-5)
    fourier = convolution_norms.from_frequencies(convolution, matrices)
    assert upper <= fourier * (1 + 1e-7)


def test_frequencies_are_near_the_map():
    """Within 5 % at 8 pixels, and the nearer the larger."""
    ratios = []
    for size in (8, 16):
        convolution, matrices = map_of(
            built(layers.Conv2D(4, 3, **SAME), (size, size, 6))
        )
        lower = convolution_norms.from_below(convolution, matrices)
        upper = convolution_norms.from_frequencies(convolution, matrices)
        ratios.append(upper / lower)
    assert 1 < ratios[1] < ratios[0] < 1.05


def test_circle_of_the_inputs_alone_would_not_bound():
    """Of [1, 0, -1] at 6 it says 1.732, below the map's 1.802."""
    layer = layers.Conv1D(1, 3, **SAME)
    layer.build((None, 6, 1))
    layer.kernel.assign(np.reshape([1, 0, -1], (3, 1, 1)))
    convolution, matrices = map_of(layer)
    waves = np.fft.fft([1, 0, -1], 6)
    assert np.max(np.abs(waves)) == pytest.approx(3**0.5)
    _, upper, _ = convolution_norms.bounds(convolution, matrices)
    assert upper == pytest.approx(2 * np.cos(np.pi / 7))
    fourier = convolution_norms.from_frequencies(convolution, matrices)
    assert fourier == pytest.approx(2.0)


def test_map_past_the_gram_matrix_goes_by_frequencies():
    layer = built(layers.Conv2D(2, 3, **SAME), (50, 50, 2))
    lower, upper, how = convolution_norms.bounds(*map_of(layer))
    assert how == "fft"
    assert 1 < upper / lower < 1.01


@pytest.mark.parametrize("values", ["zero", "unseen"])
def test_map_of_zeros_has_norm_zero(values):
    """Also where the only tap that isn't zero sees padding alone."""
    layer = layers.Conv1D(2, 5, **SAME)
    layer.build((None, 2, 3))
    kernel = np.zeros(layer.kernel.shape)
    kernel[0] = values == "unseen"
    layer.kernel.assign(kernel)
    lower, upper, _ = convolution_norms.bounds(*map_of(layer))
    assert (lower, upper) == (0.0, 0.0)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_extreme_kernels_keep_their_norm(scale):
    layer = built(layers.Conv2D(3, 3), (5, 5, 2))
    convolution, matrices = map_of(layer)
    expected = convolution_norms.bounds(convolution, matrices)[:2]
    found = convolution_norms.bounds(convolution, matrices * scale)[:2]
    np.testing.assert_allclose(found, np.multiply(expected, scale), rtol=1e-7)
