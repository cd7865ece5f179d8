"""Spectral complexity against its formula, of the maps that really run."""

import keras
import numpy as np
import operators
import pytest
from keras import layers
from keras import ops

from sngan_tf.certificates import lipschitz_bounds
from sngan_tf.certificates import spectral_complexity
from sngan_tf.layers import SpectralNormalization


def chain(shape, *stack):
    """A model of layers without bias, with kernels of normal numbers."""
    model = keras.Sequential([keras.Input(shape), *stack])
    rng = np.random.default_rng(0)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(size=weight.shape))
    return model


def formula(maps, constant=1.0, references=None):
    """R_A of matrices (inputs, outputs), written out."""
    references = references or [0.0] * len(maps)
    product, total = constant, 0.0
    for a, m in zip(maps, references):
        norm = np.linalg.norm(a, 2)
        rows = np.sum(np.linalg.norm(a - m, axis=0))
        product *= norm
        total += (rows / norm) ** (2 / 3)
    return product * total**1.5


def maps_of(model, *names):
    layers_of = map(model.get_layer, names)
    return [
        operators.matrix(layer, layer.input.shape[1:]) for layer in layers_of
    ]


def plain(kind, *args, **kwargs):
    return kind(*args, use_bias=False, **kwargs)


def test_dense_chain_matches_the_formula():
    model = chain(
        (5,),
        plain(layers.Dense, 4, activation="relu", name="a"),
        layers.LeakyReLU(2.0),
        plain(layers.Dense, 3, activation="sigmoid", name="b"),
    )
    kernels = [
        np.asarray(ops.convert_to_numpy(model.get_layer(name).kernel))
        for name in "ab"
    ]
    expected = formula(kernels, constant=2.0 / 4)
    assert spectral_complexity(model) == pytest.approx(expected, rel=1e-6)


def test_references_are_subtracted():
    model = chain(
        (5,), plain(layers.Dense, 4, name="a"), plain(layers.Dense, 3, name="b")
    )
    maps = maps_of(model, "a", "b")
    start = np.random.default_rng(1).normal(size=(4, 3))
    expected = formula(maps, references=[0.0, start])
    found = spectral_complexity(model, {"b": start})
    assert found == pytest.approx(expected, rel=1e-5)
    own = {name: model.get_layer(name).kernel for name in "ab"}
    assert spectral_complexity(model, own) == 0.0


@pytest.mark.one_backend
@pytest.mark.parametrize(
    "stack",
    [
        (
            plain(layers.Conv2D, 3, 3, padding="same"),
            plain(layers.Conv2D, 4, 2, strides=2, padding="same"),
            plain(layers.Conv2D, 2, 1, strides=2),
        ),
        (
            plain(layers.Conv2DTranspose, 3, 3, strides=2, padding="same"),
            plain(layers.DepthwiseConv2D, 2, depth_multiplier=2),
        ),
        (
            plain(layers.Conv2DTranspose, 3, 1, strides=2),
            plain(layers.Conv2D, 6, 3, groups=3),
        ),
        (
            plain(layers.Dense, 3),
            layers.EinsumDense("abcd,cde->abce", (5, 5, 2)),
            layers.Flatten(),
            plain(layers.Dense, 2),
        ),
    ],
    ids=["convolutions", "transposed", "one_tap", "positions"],
)
def test_whole_maps_match_the_formula(stack):
    """Rows at the border see padding; where nothing is seen they are zeros."""
    model = chain((5, 5, 2), *stack)
    names = [layer.name for layer in model.layers if layer.weights]
    expected = formula(maps_of(model, *names))
    assert spectral_complexity(model) == pytest.approx(expected, rel=1e-4)


def test_normalised_model_is_measured_as_inference_has_it():
    dense = plain(layers.Dense, 4, name="dense")
    model = chain((5,), SpectralNormalization(dense, bound=2.0))
    kernel = ops.convert_to_numpy(dense.kernel)
    kernel = 2.0 * kernel / np.linalg.norm(kernel, 2)
    model.layers[0].settle()
    found = spectral_complexity(model)
    assert found == pytest.approx(formula([kernel]), rel=1e-4)


def test_open_size_is_given():
    model = chain((None, 2), plain(layers.Conv1D, 3, 3, name="a"))
    a = operators.matrix(model.get_layer("a"), (6, 2))
    found = spectral_complexity(model, input_shape=(6, 2))
    assert found == pytest.approx(formula([a]), rel=1e-5)


def test_branches_are_refused_where_they_meet():
    inputs = keras.Input((4,))
    x = layers.Dense(4, name="a")(inputs)
    model = keras.Model(inputs, layers.Add(name="shortcut")([inputs, x]))
    with pytest.raises(ValueError, match="meet at Add 'shortcut'"):
        spectral_complexity(model)
    assert lipschitz_bounds(model, ascent_steps=0).upper > 0
    model = keras.Model(inputs, [x, layers.ReLU()(x)])
    with pytest.raises(ValueError, match="one input to one output"):
        spectral_complexity(model)


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (layers.SimpleRNN(3), (4, 2), "kernel .* is inside another layer"),
        (
            layers.Dense(3, kernel_initializer="zeros", name="flat"),
            (4,),
            "kernel flat has the norm 0",
        ),
    ],
    ids=["inside", "zeros"],
)
def test_layers_without_one_matrix_are_refused(layer, shape, message):
    model = keras.Sequential([keras.Input(shape), layer])
    with pytest.raises(ValueError, match=message):
        spectral_complexity(model)


@pytest.mark.parametrize("name", ["a", "b"])
def test_references_that_do_not_fit_are_refused(name):
    model = chain((5,), layers.Dense(4, name="a"))
    with pytest.raises(ValueError, match=f"`references` must.*: {name} of"):
        spectral_complexity(model, {name: np.ones((4, 5))})


@pytest.mark.parametrize(
    ("references", "message"),
    [
        ([1], "^`references` must be {name: kernel}"),
        ({"a": "kernel"}, "^`references` must be among"),
        ({"a": np.full((5, 4), np.nan)}, "^`references` must be finite"),
    ],
)
def test_references_that_are_no_kernels_are_refused(references, message):
    model = chain((5,), layers.Dense(4, name="a"))
    with pytest.raises(ValueError, match=message):
        spectral_complexity(model, references)


def test_layers_after_the_output_are_refused():
    inputs = keras.Input((4,))
    x = layers.Dense(4)(inputs)
    inside = keras.Model(inputs, [x, layers.Dense(2)(x)])
    outer = keras.Input((4,))
    model = keras.Model(outer, inside(outer)[0])
    with pytest.raises(ValueError, match="one input to one output"):
        spectral_complexity(model)
