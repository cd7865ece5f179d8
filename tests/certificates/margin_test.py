import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

from sngan_tf.certificates import lipschitz_bounds
from sngan_tf.certificates import margin_radius

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 4)).astype("float32")


def linear(classes, **arguments):
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(classes, **arguments)]
    )
    for weight in model.weights:
        weight.assign(RNG.normal(size=weight.shape))
    return model


def test_radius_of_a_linear_classifier_is_the_distance_to_its_borders():
    model = linear(3)
    kernel, bias = (
        ops.convert_to_numpy(w).astype("float64") for w in model.weights
    )
    logits = X @ kernel + bias
    expected = []
    for row, label in zip(logits, logits.argmax(axis=1)):
        distances = [
            (row[label] - row[j])
            / np.linalg.norm(kernel[:, label] - kernel[:, j])
            for j in range(3)
            if j != label
        ]
        expected.append(min(distances))
    found = margin_radius(model, X)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
    assert np.all(found <= expected)


def test_radius_of_one_logit_is_the_distance_to_zero():
    model = linear(1)
    kernel, bias = (
        ops.convert_to_numpy(w).astype("float64") for w in model.weights
    )
    expected = np.abs(X @ kernel + bias)[:, 0] / np.linalg.norm(kernel)
    found = margin_radius(model, X)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
    assert np.all(found <= expected)


def deep(activation):
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(8, activation="relu"),
            layers.Dense(3, activation=activation),
            layers.Activation("linear"),
        ]
    )
    for weight in model.weights:
        weight.assign(RNG.normal(size=weight.shape) / 2)
    return model


@pytest.mark.parametrize("activation", ["linear", "softmax"])
def test_no_step_within_the_radius_changes_a_prediction(activation):
    model = deep(activation)
    radii = margin_radius(model, X)
    assert np.median(radii) > 0.01
    before = ops.convert_to_numpy(model(X)).argmax(axis=1)
    # Towards the places of other classes, as far as the certificate goes.
    for shift in range(1, 300, 7):
        steps = np.roll(X, shift, axis=0) - X
        lengths = np.linalg.norm(steps, axis=1)
        steps *= (np.minimum(radii, lengths) / lengths)[:, None]
        after = ops.convert_to_numpy(model((X + steps).astype("float32")))
        np.testing.assert_array_equal(after.argmax(axis=1), before)
    # And some step of a hundred times the radius does.
    steps = 100 * radii[:, None] * RNG.normal(size=X.shape) / 2
    after = ops.convert_to_numpy(model((X + steps).astype("float32")))
    assert np.any(after.argmax(axis=1) != before)


def test_difference_of_two_rows_is_no_worse_than_root_2_of_all():
    model = deep("linear")
    logits = ops.convert_to_numpy(model(X)).astype("float64")
    ordered = np.sort(logits, axis=1)
    upper = lipschitz_bounds(model, ascent_steps=0).upper
    plain = (ordered[:, -1] - ordered[:, -2]) / (2**0.5 * upper)
    assert np.all(margin_radius(model, X) >= plain * (1 - 1e-3) - 1e-5)


def test_ties_have_no_radius():
    model = linear(3)
    model.layers[0].kernel.assign(np.ones((4, 3)))
    model.layers[0].bias.assign(np.zeros(3))
    np.testing.assert_array_equal(margin_radius(model, X), np.zeros(300))


def test_outputs_must_be_logits():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, [inputs, 2 * inputs])
    with pytest.raises(ValueError, match="`model` must have logits"):
        margin_radius(model, X)
    model = keras.Sequential([keras.Input((4, 4)), layers.Dense(3)])
    with pytest.raises(ValueError, match="`model` must have logits"):
        margin_radius(model, np.zeros((2, 4, 4), "float32"))


@pytest.mark.one_backend
def test_branch_that_is_not_used_does_not_count():
    inputs = keras.Input((4,))
    used = layers.Dense(3)(inputs)
    unused = layers.Dense(3, kernel_initializer="zeros")(
        layers.Dense(2)(layers.Identity()(inputs))
    )
    inside = keras.Model(inputs, [unused, used])
    outer = keras.Input((4,))
    model = keras.Model(outer, inside(outer)[1])
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    np.testing.assert_allclose(
        margin_radius(model, x), margin_radius(keras.Model(inputs, used), x)
    )


@pytest.mark.parametrize("layer", [None, layers.Identity()])
def test_model_without_layers_has_radii(layer):
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layer(inputs) if layer else inputs)
    radii = margin_radius(model, np.array([[1.0, 3.0, 0.0]], "float32"))
    np.testing.assert_allclose(radii, 2 / 2**0.5, rtol=1e-4)


def test_outputs_may_be_a_dictionary():
    inputs = keras.Input((4,))
    logits = layers.Dense(3)(inputs)
    x = np.ones((2, 4), "float32")
    np.testing.assert_array_equal(
        margin_radius(keras.Model(inputs, {"logits": logits}), x),
        margin_radius(keras.Model(inputs, logits), x),
    )


def test_integer_inputs_have_no_radius():
    model = keras.Sequential(
        [
            keras.Input((4,), dtype="uint8"),
            layers.Rescaling(1 / 255),
            layers.Dense(3),
        ]
    )
    with pytest.raises(ValueError, match="`model` must have inputs of floats"):
        margin_radius(model, np.ones((2, 4), "uint8"))


@pytest.mark.parametrize(
    "x", [1.0, "abc", None, np.ones((0, 4)), [[1, 2], [3]], [["a"] * 4]]
)
def test_inputs_that_are_none_are_refused(x):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    with pytest.raises(ValueError, match="^`x` must be one or more inputs"):
        margin_radius(model, x)
