"""Row and Frobenius normalization against NumPy, for every kind of layer."""

import json

import gradients
import keras
import numpy as np
import pytest
from keras import layers

import sngan_tf
from sngan_tf.layers import FrobeniusNormalization
from sngan_tf.layers import SpectralNormalization
from sngan_tf.layers import WeightNormalization

RNG = np.random.default_rng(0)
VECTORS = RNG.normal(size=(4, 6)).astype("float32")
IMAGES = RNG.normal(size=(2, 5, 5, 3)).astype("float32")
TOKENS = np.array([[1, 2, 2], [0, 6, 1]])

# Layer, inputs, and the einsum from kernel to rows.
CASES = {
    "dense_tall": (layers.Dense(9), VECTORS, "io->oi"),
    "dense_wide": (layers.Dense(2), VECTORS, "io->oi"),
    "conv": (layers.Conv2D(4, (3, 2)), IMAGES, "hwio->ohwi"),
    "transpose": (layers.Conv2DTranspose(4, (3, 2)), IMAGES, "hwoi->ohwi"),
    "depthwise": (
        layers.DepthwiseConv2D(3, depth_multiplier=2),
        IMAGES,
        "hwim->imhw",
    ),
    "embedding": (layers.Embedding(7, 3), TOKENS, "cd->cd"),
}
# Axes of the rows above that count outputs.
OUTPUT_AXES = {name: 2 if name == "depthwise" else 1 for name in CASES}

each_case = pytest.mark.parametrize("name", CASES)
# Rows along one axis, and along two.
each_kind_of_rows = pytest.mark.parametrize("name", ["dense_tall", "depthwise"])
each_wrapper = pytest.mark.parametrize(
    "wrapper_class", [WeightNormalization, FrobeniusNormalization]
)


def matrix(kernel, name):
    kernel = np.einsum(CASES[name][2], np.array(kernel, "float64"))
    d_out = np.prod(kernel.shape[: OUTPUT_AXES[name]])
    return kernel.reshape(d_out, -1)


def divisor(w, wrapper_class):
    if wrapper_class is FrobeniusNormalization:
        return np.linalg.norm(w)
    return np.linalg.norm(w, axis=1, keepdims=True)


def called(name, wrapper_class, value=None, **kwargs):
    """A called wrapper whose kernel has the value, by default a random one."""
    layer, inputs, _ = CASES[name]
    layer = type(layer).from_config(layer.get_config())
    wrapper = wrapper_class(layer, **kwargs)
    wrapper(inputs)
    (kernel,) = wrapper.kernels
    if value is None:
        value = np.random.default_rng(1).normal(size=kernel.shape)
    kernel.assign(np.broadcast_to(value, kernel.shape))
    return wrapper


def loss_of(y):
    return keras.ops.sum(keras.ops.sin(2 * y + 1))


def gradient_of(wrapper, inputs, variable):
    _, (gradient,) = gradients.of(
        lambda: loss_of(wrapper(inputs, training=True)), [variable]
    )
    return gradient


@each_wrapper
def test_config_survives_json(wrapper_class):
    arguments = {"learn_scale": True, "name": "outer", "trainable": False}
    wrapper = wrapper_class(layers.Dense(4, name="inner"), **arguments)
    config = json.loads(json.dumps(wrapper.get_config()))
    copy = wrapper_class.from_config(config)
    assert copy.get_config() == wrapper.get_config()
    assert arguments.items() <= copy.get_config().items()


@each_wrapper
@each_case
def test_normalized_kernel_matches_numpy(name, wrapper_class):
    wrapper = called(name, wrapper_class)
    w = matrix(wrapper.kernels[0], name)
    normalized = matrix(wrapper.normalized_kernel(), name)
    np.testing.assert_allclose(
        normalized, w / divisor(w, wrapper_class), rtol=1e-6
    )
    squares = np.linalg.svd(normalized, compute_uv=False) ** 2
    total = len(w) if wrapper_class is WeightNormalization else 1
    np.testing.assert_allclose(squares.sum(), total, rtol=1e-6)


@each_wrapper
@each_case
def test_call_uses_the_normalized_kernel(name, wrapper_class):
    wrapper = called(name, wrapper_class)
    layer, inputs, _ = CASES[name]
    plain = type(layer).from_config(layer.get_config())
    plain(inputs)
    bias = wrapper.layer.get_weights()[1:]
    plain.set_weights([wrapper.normalized_kernel(), *bias])
    np.testing.assert_allclose(wrapper(inputs), plain(inputs), rtol=1e-6)


@each_wrapper
@each_kind_of_rows
def test_call_changes_no_variable(name, wrapper_class):
    wrapper = called(name, wrapper_class)
    before = wrapper.get_weights()
    for training in (True, False):
        wrapper(CASES[name][1], training=training)
    for one, other in zip(wrapper.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


@each_wrapper
def test_gradient_matches_finite_differences(wrapper_class):
    wrapper = called("dense_tall", wrapper_class)
    (kernel,) = wrapper.kernels
    w = np.array(kernel, "float64")

    def loss(w):
        w = w.T / divisor(w.T, wrapper_class)
        return np.sin(2 * VECTORS.astype("float64") @ w.T + 1).sum()

    expected = np.zeros_like(w)
    for index in np.ndindex(*w.shape):
        step = np.zeros_like(w)
        step[index] = 1e-5
        expected[index] = (loss(w + step) - loss(w - step)) / 2e-5
    gradient = gradient_of(wrapper, VECTORS, kernel)
    np.testing.assert_allclose(
        gradient, expected, rtol=0, atol=1e-5 * np.linalg.norm(expected)
    )


@each_case
def test_gradient_is_orthogonal_to_each_row(name):
    wrapper = called(name, WeightNormalization)
    (kernel,) = wrapper.kernels
    gradient = matrix(gradient_of(wrapper, CASES[name][1], kernel), name)
    w = matrix(kernel, name)
    size = np.linalg.norm(gradient) * np.linalg.norm(w)
    assert size > 0
    assert np.abs((gradient * w).sum(axis=1)).max() <= 1e-5 * size


@each_wrapper
@each_kind_of_rows
def test_zero_kernel_stays_zero_with_finite_gradient(name, wrapper_class):
    wrapper = called(name, wrapper_class, 0.0)
    np.testing.assert_array_equal(wrapper.normalized_kernel(), 0)
    gradient = gradient_of(wrapper, CASES[name][1], wrapper.kernels[0])
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 0


@each_wrapper
def test_zero_rows_stay_zero_with_finite_gradient(wrapper_class):
    value = np.ones((6, 9)) * [0, 1, 2, 0, 1, 1, 1, 1, 0]
    wrapper = called("dense_tall", wrapper_class, value)
    w = value.T
    norms = divisor(w, wrapper_class)
    np.testing.assert_allclose(
        np.transpose(wrapper.normalized_kernel()),
        w / np.where(norms > 0, norms, 1),
        rtol=1e-6,
    )
    gradient = gradient_of(wrapper, VECTORS, wrapper.kernels[0])
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("scale", [1e-30, 1e30])
@each_wrapper
@each_kind_of_rows
def test_size_of_the_kernel_has_no_effect(name, wrapper_class, scale):
    inputs = CASES[name][1]
    wrapper = called(name, wrapper_class)
    (kernel,) = wrapper.kernels
    expected = np.array(wrapper.normalized_kernel())
    slope = gradient_of(wrapper, inputs, kernel)
    kernel.assign(kernel * scale)
    np.testing.assert_allclose(wrapper.normalized_kernel(), expected, rtol=1e-5)
    np.testing.assert_allclose(
        gradient_of(wrapper, inputs, kernel).astype("float64") * scale,
        slope,
        rtol=0,
        atol=1e-5 * np.linalg.norm(slope),
    )


@each_case
def test_learned_scale_starts_with_the_plain_layer_under_frobenius(name):
    layer, inputs, _ = CASES[name]
    layer = type(layer).from_config(layer.get_config())
    expected = layer(inputs)
    wrapper = FrobeniusNormalization(layer, learn_scale=True)
    np.testing.assert_allclose(wrapper(inputs), expected, rtol=1e-5, atol=1e-6)
    norm = np.linalg.norm(wrapper.kernels[0])
    np.testing.assert_allclose(gammas(wrapper), [norm], rtol=1e-6)


@each_case
def test_learned_scale_of_rows_keeps_the_frobenius_norm(name):
    layer, inputs, _ = CASES[name]
    layer = type(layer).from_config(layer.get_config())
    wrapper = WeightNormalization(layer, learn_scale=True)
    wrapper(inputs)
    w = matrix(wrapper.kernels[0], name)
    norm = np.linalg.norm(w)
    np.testing.assert_allclose(
        gammas(wrapper), [norm / np.sqrt(len(w))], rtol=1e-6
    )
    np.testing.assert_allclose(
        np.linalg.norm(wrapper.normalized_kernel()), norm, rtol=1e-6
    )


def gammas(wrapper):
    return [v for v in wrapper.trainable_variables if v.name == "gamma"]


@each_wrapper
def test_learned_scale_is_trained_on_its_gradient(wrapper_class):
    wrapper = called("dense_tall", wrapper_class, learn_scale=True)
    (gamma,) = gammas(wrapper)
    gamma.assign(1.7)
    w = np.array(wrapper.kernels[0], "float64").T
    outputs = VECTORS.astype("float64") @ (w / divisor(w, wrapper_class)).T
    slope = (2 * outputs * np.cos(2 * 1.7 * outputs + 1)).sum()
    np.testing.assert_allclose(
        gradient_of(wrapper, VECTORS, gamma), slope, rtol=1e-5
    )


@each_wrapper
def test_learned_scale_of_a_zero_kernel_is_one(wrapper_class):
    layer = layers.Dense(4, kernel_initializer="zeros")
    wrapper = wrapper_class(layer, learn_scale=True)
    np.testing.assert_array_equal(wrapper(VECTORS), 0)
    np.testing.assert_array_equal(gammas(wrapper)[0], 1)


def model_of(wrapper_class, **kwargs):
    """A model whose every variable has moved."""
    model = keras.Sequential(
        [
            layers.Input(IMAGES.shape[1:]),
            wrapper_class(layers.Conv2DTranspose(4, 3), **kwargs),
            layers.Flatten(),
            wrapper_class(layers.Dense(3, name="inner"), name="outer"),
        ]
    )
    rng = np.random.default_rng(1)
    for variable in model.weights:
        variable.assign(variable + rng.uniform(0.1, 0.3, variable.shape))
    return model


@pytest.mark.parametrize("learn_scale", [False, True])
@each_wrapper
def test_model_survives_a_file(tmp_path, wrapper_class, learn_scale):
    model = model_of(wrapper_class, learn_scale=learn_scale)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.layers[0].learn_scale is learn_scale
    assert [type(layer) for layer in loaded.layers] == [
        type(layer) for layer in model.layers
    ]
    np.testing.assert_array_equal(loaded(IMAGES), model(IMAGES))


@each_wrapper
def test_clone_has_the_same_outputs(wrapper_class):
    model = model_of(wrapper_class, learn_scale=True)
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(clone(IMAGES), model(IMAGES))


@pytest.mark.parametrize("learn_scale", [False, True])
@each_wrapper
def test_folded_model_is_plain_and_has_equal_outputs(
    wrapper_class, learn_scale
):
    model = model_of(wrapper_class, learn_scale=learn_scale)
    folded = sngan_tf.fold(model)
    assert [type(layer) for layer in folded.layers] == [
        layers.Conv2DTranspose,
        layers.Flatten,
        layers.Dense,
    ]
    np.testing.assert_allclose(
        folded(IMAGES), model(IMAGES), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    "inner_class",
    [WeightNormalization, FrobeniusNormalization, SpectralNormalization],
)
@each_wrapper
def test_normalized_layer_is_refused(wrapper_class, inner_class):
    inner = inner_class(layers.Dense(3), name="inside")
    with pytest.raises(ValueError, match="normalised already.*layer=inside"):
        wrapper_class(inner)
    with pytest.raises(ValueError, match="normalised already"):
        wrapper_class(keras.Sequential([inner]))


@each_wrapper
def test_layer_without_kernel_is_refused(wrapper_class):
    with pytest.raises(ValueError, match=r"must have a kernel.*ReLU"):
        wrapper_class(layers.ReLU())(VECTORS)


@pytest.mark.parametrize("size", [1e-20, 1e20])
def test_scale_of_extreme_kernels_starts_at_their_norm(size):
    dense = keras.layers.Dense(
        4, kernel_initializer=keras.initializers.Constant(size)
    )
    layer = FrobeniusNormalization(dense, learn_scale=True)
    outputs = layer(np.eye(4, dtype="float32"))
    np.testing.assert_allclose(outputs, np.full((4, 4), size), rtol=1e-5)
