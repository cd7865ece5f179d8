import keras
import numpy as np
import pytest
from keras import layers

from sngan_tf.layers import FrobeniusNormalization
from sngan_tf.layers import SpectralNormalization
from sngan_tf.layers import SpectralRegularization
from sngan_tf.layers import WeightNormalization
from sngan_tf.layers import effective_rank
from sngan_tf.layers import singular_values
from sngan_tf.layers import spectral_estimates
from sngan_tf.layers import spectral_norms

# Subscripts of a kernel, rows first.
ROWS = {"dense": "io->oi", "conv": "hwio->ohwi", "transpose": "hwoi->ohwi"}


def norm(kernel, subscripts):
    kernel = np.einsum(subscripts, np.array(kernel, "float64"))
    return np.linalg.svd(kernel.reshape(len(kernel), -1), compute_uv=False)[0]


def built(layer, shape):
    """The layer with a kernel of singular values far apart and from 1."""
    layer.build(shape)
    rng = np.random.default_rng(0)
    for variable in layer.trainable_variables:
        variable.assign(variable + rng.uniform(0.1, 0.4, variable.shape))
    return layer


def test_norms_of_a_model_match_svd():
    sn = SpectralNormalization(
        layers.Conv2D(5, 3, name="conv_sn"), bound=1.7, power_iterations=30
    )
    wn = WeightNormalization(layers.Dense(3, name="dense_wn"), name="outside")
    fn = FrobeniusNormalization(
        layers.Conv2DTranspose(4, 2, name="transpose_fn"), learn_scale=True
    )
    model = keras.Sequential(
        [
            layers.Input((6, 6, 3)),
            layers.Conv2D(4, 3, name="conv"),
            layers.BatchNormalization(),
            layers.Conv2DTranspose(2, 3, name="transpose"),
            sn,
            fn,
            layers.Flatten(),
            keras.Sequential([layers.Dense(7, name="dense"), wn]),
        ]
    )
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(variable + rng.uniform(0.1, 0.4, variable.shape))
    model(np.ones((1, 6, 6, 3)), training=True)

    bare = model.layers[0].kernel, model.layers[2].kernel
    dense = model.layers[-1].layers[0].kernel
    norms = spectral_norms(model)
    assert norms == pytest.approx(
        {
            "conv": norm(bare[0], ROWS["conv"]),
            "transpose": norm(bare[1], ROWS["transpose"]),
            "conv_sn": norm(sn.normalized_kernel(), ROWS["conv"]),
            "transpose_fn": norm(fn.normalized_kernel(), ROWS["transpose"]),
            "dense": norm(dense, ROWS["dense"]),
            "dense_wn": norm(wn.normalized_kernel(), ROWS["dense"]),
        },
        rel=1e-6,
    )
    assert norms["conv_sn"] == pytest.approx(1.7, rel=1e-5)
    # Unlike those of spectral normalization, rows of norm 1 may add up.
    assert 1.1 < norms["dense_wn"] <= 3**0.5


def test_names_are_in_the_order_of_the_layers():
    model = keras.Sequential([layers.Dense(3, name=name) for name in "zab"])
    model.build((None, 4))
    assert list(spectral_norms(model)) == ["z", "a", "b"]


@pytest.mark.parametrize(
    ("tokens", "size"), [(9, 4), (4, 9)], ids=["tall", "wide"]
)
def test_norm_of_an_embedding(tokens, size):
    layer = built(layers.Embedding(tokens, size, name="table"), (None, 2))
    assert spectral_norms(layer) == pytest.approx(
        {"table": norm(layer.embeddings, "cd->cd")}, rel=1e-9
    )


def test_several_kernels_of_a_layer_have_names_of_their_own():
    layer = built(layers.SeparableConv2D(4, 3, name="sep"), (None, 5, 5, 3))
    depthwise, pointwise = layer.depthwise_kernel, layer.pointwise_kernel
    assert spectral_norms(layer) == pytest.approx(
        {
            "sep/depthwise_kernel": norm(depthwise, "hwim->imhw"),
            "sep/pointwise_kernel": norm(pointwise, "hwio->ohwi"),
        },
        rel=1e-9,
    )


@pytest.mark.one_backend
def test_kernels_of_a_recurrent_layer_are_those_of_its_cell():
    lstm = layers.LSTM(5)
    model = keras.Sequential([layers.Input((4, 3)), lstm])
    cell = lstm.cell
    cell.recurrent_kernel.assign(1.5 * cell.recurrent_kernel)
    assert spectral_norms(model) == pytest.approx(
        {
            f"{cell.name}/kernel": norm(cell.kernel, "io->oi"),
            f"{cell.name}/recurrent_kernel": 1.5,
        },
        rel=1e-6,
    )


def test_normalized_recurrent_layer_stands_at_its_bounds():
    wrapper = SpectralNormalization(layers.LSTM(5), bound=0.5)
    wrapper(np.ones((2, 4, 3)))
    assert list(spectral_norms(wrapper).values()) == pytest.approx(
        [0.5, 0.5], rel=1e-4
    )


@pytest.mark.one_backend
def test_kernels_of_keras_own_normalization_are_those_of_the_layers_inside():
    model = keras.Sequential(
        [
            layers.Input((5, 5, 2)),
            layers.SpectralNormalization(
                layers.Conv2DTranspose(3, 2, name="transpose")
            ),
            layers.Flatten(),
            layers.SpectralNormalization(layers.Dense(4, name="dense")),
        ]
    )
    transpose, _, dense = [
        getattr(layer, "layer", None) for layer in model.layers
    ]
    assert spectral_norms(model) == pytest.approx(
        {
            "transpose": norm(transpose.kernel, ROWS["transpose"]),
            "dense": norm(dense.kernel, ROWS["dense"]),
        },
        rel=1e-9,
    )


def test_zero_kernel_has_norm_zero():
    layer = layers.Dense(3, kernel_initializer="zeros", name="dense")
    layer.build((None, 4))
    assert spectral_norms(layer) == {"dense": 0.0}


def test_measuring_changes_no_variable():
    wrapper = SpectralNormalization(layers.Dense(4))
    wrapper = built(wrapper, (None, 6))
    before = wrapper.get_weights()
    spectral_norms(wrapper)
    for one, other in zip(wrapper.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.one_backend
def test_kernels_of_one_name_are_numbered():
    """By layer, whatever wraps it and wherever it stands."""
    inner = keras.Sequential([layers.Input((5, 4)), layers.Dense(3, name="a")])
    model = keras.Sequential(
        [
            layers.Input((5, 3)),
            SpectralNormalization(layers.GRU(4, return_sequences=True)),
            layers.GRU(4, return_sequences=True),
            layers.Dense(4, name="a"),
            WeightNormalization(layers.Dense(4, name="a")),
            inner,
        ]
    )
    for i, gru in enumerate((model.layers[0].layer, model.layers[1])):
        gru.cell.name = "cell"
        gru.cell.kernel.assign(np.full((3 + i, 12), i))
    norms = spectral_norms(model)
    assert list(norms) == [
        *("cell/kernel", "cell/recurrent_kernel"),
        *("cell_1/kernel", "cell_1/recurrent_kernel"),
        *("a", "a_1", "a_2"),
    ]
    assert norms["cell/kernel"] == 0.0
    assert norms["cell_1/kernel"] == pytest.approx(48**0.5)
    assert norms["a_2"] == pytest.approx(norm(inner.layers[0].kernel, "io->oi"))


def test_estimates_are_of_the_kernels_that_have_a_vector():
    """Of W itself, by the names of the exact norms, changing nothing."""
    sn = SpectralNormalization(layers.Dense(4, name="a"), bound=2.0)
    separable = SpectralNormalization(
        layers.SeparableConv2D(3, 2, name="sep"), learn_scale=True
    )
    regularized = SpectralRegularization(layers.Dense(2, name="a"))
    model = keras.Sequential(
        [
            layers.Input((5, 5, 2)),
            separable,
            layers.Dense(3, name="a"),
            WeightNormalization(layers.Dense(3, name="weight")),
            sn,
            keras.Sequential([regularized]),
        ]
    )
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(variable + rng.uniform(0.1, 0.4, variable.shape))
    for layer in (separable, sn, regularized):
        layer.settle()
    before = model.get_weights()
    depthwise, pointwise = separable.kernels
    expected = {
        "sep/depthwise_kernel": norm(depthwise, "hwim->imhw"),
        "sep/pointwise_kernel": norm(pointwise, "hwio->ohwi"),
        "a_1": norm(sn.layer.kernel, "io->oi"),
        "a_2": norm(regularized.layer.kernel, "io->oi"),
    }
    estimates = spectral_estimates(model)
    assert list(estimates) == list(expected)
    assert {k: float(v) for k, v in estimates.items()} == pytest.approx(
        expected, rel=1e-3
    )
    assert estimates.keys() <= spectral_norms(model).keys()
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)
    assert spectral_estimates(model.layers[1]) == {}


# All singular values.


@pytest.mark.parametrize(
    ("layer", "shape", "rows"),
    [
        (layers.Dense(3, name="tall"), (None, 7), "dense"),
        (layers.Dense(7, name="wide"), (None, 3), "dense"),
        (layers.Conv2D(5, 3, name="conv"), (None, 6, 6, 2), "conv"),
        (
            layers.Conv2DTranspose(4, 2, name="transpose"),
            (None, 6, 6, 3),
            "transpose",
        ),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_all_singular_values_match_svd(layer, shape, rows):
    built(layer, shape)
    kernel = np.einsum(ROWS[rows], np.array(layer.kernel, "float64"))
    expected = np.linalg.svd(kernel.reshape(len(kernel), -1), compute_uv=False)
    (values,) = singular_values(layer).values()
    assert values.dtype == np.float64
    np.testing.assert_allclose(values, expected, rtol=1e-9)


def test_singular_values_are_of_the_kernel_in_effect():
    layer = SpectralNormalization(layers.Dense(3, name="dense"), bound=1.5)
    built(layer, (None, 5)).settle()
    plain = np.linalg.svd(np.array(layer.layer.kernel), compute_uv=False)
    np.testing.assert_allclose(
        singular_values(layer)["dense"], 1.5 * plain / plain[0], rtol=1e-4
    )


def test_zero_kernel_has_zeros_alone():
    layer = layers.Dense(3, kernel_initializer="zeros", name="dense")
    layer.build((None, 4))
    np.testing.assert_array_equal(singular_values(layer)["dense"], np.zeros(3))


@pytest.mark.parametrize(
    ("values", "rank"),
    [
        (np.ones(7), 7.0),  # Of the identity.
        ([3.0, 0.0, 0.0], 1.0),
        ([0.0, 0.0], 0.0),
        # Shares 3/4 and 1/4: exp of their entropy.
        ([6.0, 2.0], 4 / 3**0.75),
        ([6e-200, 2e-200], 4 / 3**0.75),
    ],
    ids=["identity", "rank one", "zero", "two values", "small"],
)
def test_effective_rank_counts_directions(values, rank):
    assert effective_rank(values) == pytest.approx(rank, rel=1e-12)
