import keras
import numpy as np
import operators
import pytest
from keras import layers
from keras import ops

from sngan_tf.certificates import operator_norms
from sngan_tf.certificates import singular_values
from sngan_tf.layers import SpectralNormalization
from sngan_tf.layers import spectral_norms

SAME = {"padding": "same"}


def built(layer, shape):
    layer.build(shape)
    rng = np.random.default_rng(0)
    for weight in layer.trainable_weights:
        weight.assign(rng.normal(size=weight.shape))
    return layer


def value(variable):
    return np.asarray(ops.convert_to_numpy(variable), "float64")


def assert_exact(norm, truth, how="svd", rtol=1e-5):
    np.testing.assert_allclose(norm[:2], truth, rtol=rtol)
    assert norm.lower <= norm.upper
    assert norm.how == how


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (layers.Dense(3), (4,)),
        (layers.EinsumDense("abc,cd->abd", (None, 3)), (2, 4)),
        (layers.EinsumDense("abc,bcd->adb", (3, 2)), (2, 4)),
        (layers.EinsumDense("abcd,cde->abe", (None, 3)), (2, 2, 3)),
        (layers.EinsumDense("abc,cde->abde", (None, 2, 2)), (2, 4)),
        (layers.EinsumDense("...x,xy->...y", (3,)), (2, 4)),
        (layers.Conv2D(4, 1, strides=2), (3, 3, 2)),
        (layers.Conv2DTranspose(4, 1, strides=2), (3, 3, 2)),
    ],
    ids=str,
)
def test_kernel_as_matrix_is_exact(layer, shape):
    layer = type(layer).from_config(layer.get_config())
    built(layer, (None, *shape))
    (norm,) = operator_norms(layer).values()
    assert_exact(norm, operators.norm(layer, shape))


@pytest.mark.parametrize("equation", ["abc,bd->abd", "abb,bc->abc"])
def test_equation_that_is_no_product_of_matrices_is_unknown(equation):
    """Where inputs alone are summed over, or their diagonal is taken."""
    layer = layers.EinsumDense(equation, (4, 3), name="einsum")
    layer.build((None, 4, 4))
    assert operator_norms(layer)["einsum"].how == "unknown"


@pytest.mark.parametrize("size", [(9, 4), (4, 9)])
def test_embedding_is_its_matrix(size):
    layer = built(layers.Embedding(*size), (None, 2))
    (norm,) = operator_norms(layer).values()
    assert_exact(norm, np.linalg.norm(value(layer.embeddings), 2))


def test_layers_made_of_others_have_the_norm_of_each_kernel():
    x = np.ones((2, 3, 4), "float32")
    attention = layers.MultiHeadAttention(2, 3)
    attention(x, x)
    kernel = np.random.default_rng(0).normal(size=(4, 2, 3))
    attention.query_dense.kernel.assign(kernel)
    norms = operator_norms(attention)
    assert_exact(norms["query"], np.linalg.norm(kernel.reshape(4, 6), 2))
    lstm = layers.LSTM(5)
    lstm(x)
    name = lstm.cell.name
    kernel = value(lstm.cell.kernel)
    norms = operator_norms(lstm)
    assert_exact(norms[f"{name}/kernel"], np.linalg.norm(kernel, 2))
    assert_exact(norms[f"{name}/recurrent_kernel"], 1.0)


def test_separable_convolution_has_both_norms():
    shape = (6, 5, 3)
    layer = layers.SeparableConv2D(5, 3, depth_multiplier=2, name="sep", **SAME)
    built(layer, (None, *shape))
    part = built(
        layers.DepthwiseConv2D(3, depth_multiplier=2, **SAME), (None, *shape)
    )
    part.kernel.assign(layer.depthwise_kernel)
    norms = operator_norms(layer)
    truth = operators.norm(part, shape)
    assert_exact(norms["sep/depthwise_kernel"], truth, "svd of the map")
    pointwise = value(layer.pointwise_kernel).reshape(6, 5)
    assert_exact(norms["sep/pointwise_kernel"], np.linalg.norm(pointwise, 2))


@pytest.mark.parametrize(
    "layer",
    [
        layers.Conv2D(2, 3, **SAME),
        layers.Conv2D(2, 3, strides=2, groups=2, **SAME),
        layers.Conv2D(2, 2, strides=2),
        layers.Conv2DTranspose(2, 3, strides=2, **SAME),
        layers.DepthwiseConv2D((3, 1)),
    ],
    ids=["same", "strided", "apart", "transposed", "depthwise"],
)
def test_open_size_is_bounded_at_every_size(layer):
    """Closely where windows lie apart."""
    layer = type(layer).from_config({**layer.get_config(), "use_bias": False})
    built(layer, (None, None, None, 2))
    (norm,) = operator_norms(layer).values()
    assert norm.how == "taps"
    truths = [operators.norm(layer, (n, n, 2)) for n in (4, 7)]
    assert max(truths) <= norm.upper * (1 + 1e-6)
    assert norm.lower <= truths[1] * (1 + 1e-6)
    if layer.kernel_size == layer.strides:
        assert_exact(norm, truths[0], "taps")


@pytest.mark.one_backend
def test_convolutional_recurrence_is_bounded_at_every_size():
    layer = layers.ConvLSTM1D(2, 3, strides=2, name="recurrent")
    built(layer, (None, 2, 9, 3))
    name = layer.cell.name
    norms = operator_norms(layer)
    for key, seen in {"kernel": 2, "recurrent_kernel": 3}.items():
        kernel = value(getattr(layer.cell, key))
        matrix = np.linalg.norm(kernel.reshape(-1, 8), 2)
        norm = norms[f"{name}/{key}"]
        expected = [matrix, seen**0.5 * matrix]
        np.testing.assert_allclose(norm[:2], expected, rtol=1e-6)
        assert norm.how == "taps"


def test_norms_of_a_model_are_those_in_effect():
    conv = layers.Conv2D(4, 3, strides=2, name="conv", **SAME)
    model = keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            SpectralNormalization(conv, bound=0.5),
            layers.Flatten(),
            SpectralNormalization(layers.Dense(2, name="dense"), norm="conv"),
        ]
    )
    norms = operator_norms(model)
    assert list(norms) == list(spectral_norms(model))
    assert_exact(norms["dense"], 1.0, rtol=1e-3)
    scale = spectral_norms(model)["conv"] / spectral_norms(conv)["conv"]
    truth = scale * operators.norm(conv, (6, 6, 3))
    assert_exact(norms["conv"], truth, "svd of the map")


def test_shared_layer_has_the_norm_of_its_largest_call():
    conv = layers.Conv1D(1, 3, use_bias=False, **SAME)
    short, long = keras.Input((3, 1)), keras.Input((9, 1))
    model = keras.Model([short, long], [conv(short), conv(long)])
    conv.kernel.assign(np.ones(conv.kernel.shape))
    (norm,) = operator_norms(model).values()
    assert_exact(norm, operators.norm(conv, (9, 1)), "svd of the map")


@pytest.mark.parametrize("nested", [False, True])
def test_open_model_is_measured_at_a_given_size(nested):
    conv = layers.Conv1D(2, 3, name="conv", use_bias=False, **SAME)
    model = keras.Sequential([keras.Input((None, 1)), conv])
    if nested:
        inputs = keras.Input((None, 1))
        model = keras.Model(inputs, model(inputs))
    assert operator_norms(model)["conv"].how == "taps"
    norm = operator_norms(model, (7, 1))["conv"]
    assert_exact(norm, operators.norm(conv, (7, 1)), "svd of the map")
    assert operator_norms(conv, (7, 1))["conv"] == norm


def test_size_of_a_model_without_graph_is_refused():
    class Own(keras.Model):
        pass

    model = Own()
    model.built = True
    with pytest.raises(ValueError, match="`input_shape` must be None"):
        operator_norms(model, (7, 1))


def test_custom_layers_are_unknown():
    """Also those derived from Keras's, which may compute otherwise."""

    class Doubled(layers.Dense):
        def call(self, inputs):
            return 2 * super().call(inputs)

    layer = built(Doubled(3, name="doubled"), (None, 4))
    assert operator_norms(layer) == {"doubled": (0.0, np.inf, "unknown")}


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "bfloat16"])
def test_kernel_is_rounded_as_inference_does(dtype):
    layer = built(layers.Dense(3, dtype=dtype), (None, 4))
    kernel = ops.cast(ops.cast(layer.kernel, "bfloat16"), "float32")
    (norm,) = operator_norms(layer).values()
    assert_exact(norm, np.linalg.norm(value(kernel), 2), rtol=1e-7)


def test_zero_kernel_has_norm_zero():
    layer = layers.Dense(3, kernel_initializer="zeros", name="dense")
    layer.build((None, 4))
    assert operator_norms(layer) == {"dense": (0.0, 0.0, "svd")}


def test_kernel_that_is_not_finite_is_refused_by_name():
    layer = layers.Dense(3, name="dense")
    layer.build((None, 4))
    layer.kernel.assign(np.full((4, 3), np.nan))
    with pytest.raises(ValueError, match="must be finite.*dense"):
        operator_norms(layer)


@pytest.mark.parametrize("shape", [(1, 1, 5), (2, 30, 40), (3, 40, 30)])
def test_largest_singular_value_from_both_sides(shape):
    matrices = np.random.default_rng(0).normal(size=shape)
    truth = np.max(np.linalg.svd(matrices, compute_uv=False))
    lower, upper = singular_values.of_matrices(matrices)
    assert lower <= truth <= upper
    np.testing.assert_allclose([lower, upper], truth, rtol=1e-7)


def test_bound_is_proved_whatever_the_start():
    matrix = np.random.default_rng(0).normal(size=(30, 40))
    truth = np.linalg.norm(matrix, 2)
    for lower in (0.0, 0.5 * truth, truth):
        upper = singular_values.from_above([matrix @ matrix.T], lower)
        assert truth <= upper
