import json

import gradients
import keras
import numpy as np
import pytest
from keras import layers

from sngan_tf import SpectralNormalization

VECTORS = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")
IMAGES = np.random.default_rng(0).normal(size=(2, 5, 5, 3)).astype("float32")
SEQUENCES = IMAGES[0]
TOKENS = np.array([[1, 2, 3, 0, 0], [4, 0, 0, 0, 0]])


def vectors_of(layer):
    return [v for v in layer.non_trainable_variables if v.name == "u"]


def unsettle(layer):
    """Gives every u a new random direction."""
    rng = np.random.default_rng(1)
    for u in vectors_of(layer):
        start = rng.normal(size=u.shape)
        u.assign(start / np.linalg.norm(start))


def loss_of(outputs):
    return keras.ops.sum(keras.ops.sin(outputs))


def values(variables):
    return [np.array(variable) for variable in variables]


def assert_identical(actual, expected):
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def called(layer, inputs, **kwargs):
    wrapper = SpectralNormalization(layer, **kwargs)
    wrapper(inputs)
    return wrapper


@pytest.fixture(
    params=[
        (layers.Dense(5, bias_initializer="ones"), VECTORS),
        (layers.Conv2D(4, 3, bias_initializer="ones"), IMAGES),
        (layers.Conv2DTranspose(4, 3, bias_initializer="ones"), IMAGES),
        (layers.SeparableConv2D(4, 3), IMAGES),
        (layers.GRU(4, recurrent_initializer="normal"), SEQUENCES),
        (layers.Embedding(8, 3), TOKENS),
    ],
    ids=lambda param: param[0].name,
)
def wrapper_and_inputs(request):
    layer, inputs = request.param
    wrapper = called(type(layer).from_config(layer.get_config()), inputs)
    unsettle(wrapper)
    return wrapper, inputs


@pytest.mark.parametrize(
    "arguments",
    [
        {"power_iterations": 3, "bound": 2.5, "norm": "matrix", "name": "sn"},
        {"learn_scale": True, "trainable": False},
    ],
)
def test_config_survives_json(arguments):
    layer = SpectralNormalization(
        layers.Conv2D(4, 3, dtype="float16", name="conv"), **arguments
    )
    config = json.loads(json.dumps(layer.get_config()))
    copy = SpectralNormalization.from_config(config)
    assert copy.get_config() == layer.get_config()
    assert arguments.items() <= copy.get_config().items()


def test_training_call_moves_only_u(wrapper_and_inputs):
    wrapper, inputs = wrapper_and_inputs
    trainable = values(wrapper.trainable_variables)
    before = values(vectors_of(wrapper))
    for _ in range(2):
        wrapper(inputs, training=True)
        after = values(vectors_of(wrapper))
        for one, other in zip(before, after, strict=True):
            assert np.abs(one - other).max() > 1e-4
        before = after
    assert_identical(values(wrapper.trainable_variables), trainable)
    assert wrapper.layer.trainable_variables == wrapper.trainable_variables


@pytest.mark.parametrize("arguments", [{}, {"training": False}])
def test_inference_changes_no_variable(wrapper_and_inputs, arguments):
    wrapper, inputs = wrapper_and_inputs
    before = values(wrapper.variables)
    wrapper(inputs, **arguments)
    wrapper.spectral_norm()
    wrapper.normalized_kernel()
    assert_identical(values(wrapper.variables), before)


def test_training_call_divides_by_the_sigma_of_algorithm_1():
    wrapper = called(layers.Dense(5), VECTORS)
    unsettle(wrapper)
    ((w,), (u,)) = values(wrapper.kernels), values(vectors_of(wrapper))
    v = w @ u / np.linalg.norm(w @ u)
    sigma = np.linalg.norm(v @ w)
    np.testing.assert_allclose(
        wrapper(VECTORS, training=True), VECTORS @ w / sigma, rtol=1e-4
    )


def test_three_power_iterations_equal_three_calls():
    layer = layers.Dense(5)
    once = called(layer, VECTORS)
    thrice = called(layer, VECTORS, power_iterations=3)
    unsettle(once)
    unsettle(thrice)
    for _ in range(3):
        expected = once(VECTORS, training=True)
    np.testing.assert_allclose(
        thrice(VECTORS, training=True), expected, rtol=1e-5
    )
    np.testing.assert_allclose(
        vectors_of(thrice)[0], vectors_of(once)[0], atol=1e-6
    )


def test_training_flag_of_the_model_reaches_the_layer():
    wrapper = SpectralNormalization(layers.Dense(5))
    model = keras.Sequential([wrapper])
    model(VECTORS)
    unsettle(wrapper)
    before = values(vectors_of(wrapper))
    model(VECTORS, training=False)
    assert_identical(values(vectors_of(wrapper)), before)
    model(VECTORS, training=True)
    assert np.abs(vectors_of(wrapper)[0] - before[0]).max() > 1e-4


@pytest.mark.parametrize("bound", [2.0, 0.5])
def test_bound_is_the_norm_of_the_kernel_in_use(bound):
    wrapper = called(layers.Dense(5), VECTORS, bound=bound)
    outputs = np.array(wrapper(np.eye(6, dtype="float32")))
    np.testing.assert_allclose(np.linalg.norm(outputs, 2), bound, rtol=1e-5)
    np.testing.assert_allclose(outputs, wrapper.normalized_kernel(), rtol=1e-5)


def test_learned_scale_starts_with_the_plain_layer(wrapper_and_inputs):
    layer, inputs = wrapper_and_inputs[0].layer, wrapper_and_inputs[1]
    wrapper = called(layer, inputs, learn_scale=True)
    np.testing.assert_allclose(
        wrapper(inputs), layer(inputs), rtol=1e-4, atol=1e-6
    )
    scales = [v for v in wrapper.trainable_variables if v.name == "gamma"]
    assert len(scales) == len(wrapper.kernels)


@pytest.mark.parametrize("learn_scale", [False, True])
@pytest.mark.parametrize("initializer", ["glorot_uniform", "zeros"])
def test_zero_kernel_waits_with_finite_gradients(initializer, learn_scale):
    layer = layers.Dense(
        5, kernel_initializer=initializer, bias_initializer="ones"
    )
    wrapper = called(
        layer, VECTORS, power_iterations=100, learn_scale=learn_scale
    )
    layer.kernel.assign(np.zeros((6, 5)))
    before = values(vectors_of(wrapper))
    _, (gradient,) = gradients.of(
        lambda: loss_of(wrapper(VECTORS, training=True)), wrapper.kernels
    )
    np.testing.assert_array_equal(wrapper(VECTORS, training=True), 1)
    np.testing.assert_array_equal(wrapper.normalized_kernel(), 0)
    assert np.all(np.isfinite(gradient))
    assert np.any(gradient != 0)
    # But for their last bit, by the division by a length of 1.
    for one, other in zip(values(vectors_of(wrapper)), before, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)

    w = np.random.default_rng(2).normal(size=(6, 5))
    layer.kernel.assign(w)
    wrapper(VECTORS, training=True)
    truth = np.linalg.norm(w, 2)
    np.testing.assert_allclose(wrapper.spectral_norm(), truth, rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-20, 1e20])
def test_extreme_kernels_work_as_moderate_ones(scale):
    """Outputs are equal, and the gradient is divided by the scale."""
    wrapper = called(layers.Dense(5), VECTORS)

    def outputs_and_gradient():
        _, (gradient,) = gradients.of(
            lambda: loss_of(wrapper(VECTORS, training=True)), wrapper.kernels
        )
        return wrapper(VECTORS), gradient.astype("float64")

    expected_outputs, expected_gradient = outputs_and_gradient()
    wrapper.kernels[0].assign(wrapper.kernels[0] * scale)
    outputs, gradient = outputs_and_gradient()
    np.testing.assert_allclose(outputs, expected_outputs, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        gradient * scale, expected_gradient, rtol=1e-3, atol=1e-5
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"power_iterations": 0}, "`power_iterations` .* at least 1.*=0"),
        ({"power_iterations": 1.5}, "`power_iterations` .* integer .*=1.5"),
        ({"norm": "frobenius"}, "`norm` .* one of .*'matrix'.*'frobenius'"),
        ({"bound": 0.0}, "`bound` must be positive .*=0.0"),
        ({"bound": -1.0}, "`bound` must be positive .*=-1.0"),
        ({"bound": float("nan")}, "`bound` must be .* finite.*=nan"),
        ({"bound": float("inf")}, "`bound` must be .* finite.*=inf"),
        ({"bound": 2.0, "learn_scale": True}, "`bound` .* `learn_scale`.*2.0"),
    ],
)
def test_invalid_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        SpectralNormalization(layers.Dense(5), **arguments)


@pytest.mark.parametrize(
    "layer",
    [layers.ReLU(), layers.BatchNormalization(), layers.LayerNormalization()],
    ids=lambda layer: layer.name,
)
def test_layer_without_kernel_is_refused(layer):
    wrapper = SpectralNormalization(layer)
    with pytest.raises(ValueError, match=f"kernel.*{type(layer).__name__}"):
        wrapper(VECTORS)


@pytest.mark.parametrize(
    "around", [lambda x: x, lambda x: keras.Sequential([x])]
)
def test_normalised_layer_is_not_wrapped_again(around):
    layer = around(SpectralNormalization(layers.Dense(3)))
    with pytest.raises(ValueError, match=f"already.*layer={layer.name}"):
        SpectralNormalization(layer)
