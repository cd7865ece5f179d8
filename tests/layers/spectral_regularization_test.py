import json

import gradients
import keras
import numpy as np
import pytest
from keras import layers

import sngan_tf
from sngan_tf.layers import SpectralRegularization

RNG = np.random.default_rng(0)
VECTORS = RNG.normal(size=(4, 6)).astype("float32")
IMAGES = RNG.normal(size=(2, 5, 5, 3)).astype("float32")
MANY = 60

# Layer, inputs, and the einsum from kernel to rows.
CASES = {
    "dense_tall": (layers.Dense(9), VECTORS, "io->oi"),
    "dense_wide": (layers.Dense(2), VECTORS, "io->oi"),
    "conv": (layers.Conv2D(4, (3, 2)), IMAGES, "hwio->ohwi"),
    "transpose": (layers.Conv2DTranspose(4, (3, 2)), IMAGES, "hwoi->ohwi"),
}
each_case = pytest.mark.parametrize("name", CASES)


def called(name, **kwargs):
    """A called wrapper, its u unsettled by a kernel that moved."""
    layer, inputs, _ = CASES[name]
    layer = type(layer).from_config(layer.get_config())
    wrapper = SpectralRegularization(layer, **kwargs)
    wrapper(inputs)
    rng = np.random.default_rng(1)
    layer.kernel.assign(rng.normal(size=layer.kernel.shape))
    return wrapper


def vector_of(wrapper):
    (u,) = [v for v in wrapper.non_trainable_variables if v.name == "u"]
    return np.array(u)


@each_case
def test_loss_and_gradient_match_svd(name):
    wrapper = called(name, coefficient=0.3, power_iterations=MANY)
    _, inputs, subscripts = CASES[name]
    rows = np.einsum(subscripts, np.array(wrapper.kernels[0], "float64"))
    left, values, right = np.linalg.svd(
        rows.reshape(len(rows), -1), full_matrices=False
    )

    def added_loss():
        wrapper(inputs, training=True)
        return wrapper.losses[0]

    loss, (gradient,) = gradients.of(added_loss, wrapper.kernels)
    np.testing.assert_allclose(loss, 0.15 * values[0] ** 2, rtol=1e-5)
    expected = 0.3 * values[0] * np.outer(left[:, 0], right[0])
    np.testing.assert_allclose(
        np.einsum(subscripts, gradient).reshape(expected.shape),
        expected,
        rtol=0,
        atol=1e-4 * values[0],
    )


def test_every_kernel_adds_its_loss():
    layer = layers.SeparableConv2D(4, 3)
    wrapper = SpectralRegularization(layer, 2.0, power_iterations=MANY)
    wrapper(IMAGES, training=True)
    depthwise, pointwise = map(np.array, wrapper.kernels)
    truth = [
        np.linalg.norm(depthwise.reshape(9, -1), 2) ** 2,
        np.linalg.norm(pointwise.reshape(-1, 4), 2) ** 2,
    ]
    np.testing.assert_allclose(wrapper.losses, truth, rtol=1e-4)


@pytest.mark.parametrize("training", [True, False])
@each_case
def test_outputs_are_those_of_the_bare_layer(name, training):
    wrapper = called(name)
    inputs = CASES[name][1]
    np.testing.assert_array_equal(
        wrapper(inputs, training=training), wrapper.layer(inputs)
    )


def test_inference_adds_no_loss_and_changes_no_variable():
    wrapper = called("conv")
    before = wrapper.get_weights()
    wrapper(IMAGES, training=False)
    assert wrapper.losses == []
    wrapper.normalized_kernel()
    for one, other in zip(wrapper.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_training_call_advances_u_alone():
    wrapper = called("dense_wide")
    w, bias = wrapper.layer.get_weights()
    u = vector_of(wrapper).astype("float64")
    wrapper(VECTORS, training=True)
    u = w.T @ w @ u
    np.testing.assert_allclose(
        vector_of(wrapper), u / np.linalg.norm(u), atol=1e-6
    )
    np.testing.assert_array_equal(wrapper.layer.kernel, w)
    np.testing.assert_array_equal(wrapper.layer.bias, bias)


def test_fit_shrinks_the_spectral_norm():
    layer = layers.Dense(3, kernel_initializer="identity", use_bias=False)
    model = keras.Sequential(
        [
            layers.Input((3,)),
            SpectralRegularization(layer, coefficient=1.0),
        ]
    )
    model.compile(keras.optimizers.SGD(0.5), "mse")
    # By its weights the mean square adds nothing.
    model.fit(
        np.ones((2, 3)),
        np.zeros((2, 3)),
        sample_weight=np.zeros(2),
        verbose=0,
    )
    # All of the gradient is sigma u v^T, which takes half of one value.
    np.testing.assert_allclose(
        np.linalg.svd(layer.kernel, compute_uv=False), [1, 1, 0.5], rtol=1e-5
    )


def test_config_survives_json():
    arguments = {"coefficient": 0.2, "power_iterations": 3, "name": "sr"}
    wrapper = SpectralRegularization(layers.Dense(4, name="d"), **arguments)
    config = json.loads(json.dumps(wrapper.get_config()))
    copy = SpectralRegularization.from_config(config)
    assert copy.get_config() == wrapper.get_config()
    assert arguments.items() <= copy.get_config().items()


def test_model_survives_a_file(tmp_path):
    model = keras.Sequential(
        [layers.Input((6,)), SpectralRegularization(layers.Dense(4), 0.5)]
    )
    model(VECTORS, training=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(VECTORS), model(VECTORS))
    for one in (model, loaded):
        one(VECTORS, training=True)
    np.testing.assert_array_equal(loaded.losses, model.losses)


def test_folded_layer_keeps_the_kernel():
    wrapper = called("conv")
    folded = sngan_tf.fold(wrapper)
    assert type(folded) is layers.Conv2D
    np.testing.assert_array_equal(folded(IMAGES), wrapper(IMAGES))


@pytest.mark.parametrize("coefficient", [-0.1, float("inf"), float("nan")])
def test_coefficient_out_of_range_is_refused(coefficient):
    with pytest.raises(ValueError, match=f"coefficient={coefficient}"):
        SpectralRegularization(layers.Dense(3), coefficient)
