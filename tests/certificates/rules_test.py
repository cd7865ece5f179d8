"""The bound of each layer against the matrix, or the slope, of the layer."""

import keras
import numpy as np
import operators
import pytest
from keras import layers

from sngan_tf import SpectralNormalization
from sngan_tf.certificates import lipschitz
from sngan_tf.certificates import register_lipschitz
from sngan_tf.layers import WeightNormalization

# Linear layers, the shape of an example, and how far the bound may be off.
EXACT, LOOSE = 1e-4, 1.0
LINEAR = {
    "dense": (layers.Dense(4), (3,), EXACT),
    "dense_of_sequences": (layers.Dense(4), (5, 3), EXACT),
    "conv": (layers.Conv2D(4, 3, padding="same"), (6, 5, 3), EXACT),
    "conv_strided": (layers.Conv2D(4, 4, 2, padding="same"), (8, 6, 3), EXACT),
    "conv_grouped": (layers.Conv2D(6, 3, groups=2), (6, 5, 4), EXACT),
    "transposed": (layers.Conv2DTranspose(3, 3, 2), (4, 3, 2), EXACT),
    "depthwise": (
        layers.DepthwiseConv2D(3, depth_multiplier=2),
        (6, 5, 2),
        EXACT,
    ),
    "separable": (layers.SeparableConv2D(4, 3), (6, 5, 2), LOOSE),
    "einsum": (layers.EinsumDense("abc,bcd->abd", (4, 3)), (4, 2), EXACT),
    "average": (layers.AveragePooling2D(2), (6, 5, 2), EXACT),
    "average_overlapping": (layers.AveragePooling2D(3, 2), (7, 6, 2), EXACT),
    "average_same": (
        layers.AveragePooling2D(3, 1, padding="same"),
        (5, 4, 2),
        EXACT,
    ),
    "average_past_windows": (layers.AveragePooling1D(2, 3), (8, 2), EXACT),
    "global_average": (layers.GlobalAveragePooling2D(), (4, 3, 2), EXACT),
    "upsampling": (layers.UpSampling2D((2, 3)), (4, 3, 2), EXACT),
    "upsampling_1d": (layers.UpSampling1D(3), (4, 2), EXACT),
    "repeat": (layers.RepeatVector(5), (4,), EXACT),
    "zero_padding": (layers.ZeroPadding2D(2), (4, 3, 2), EXACT),
    "cropping": (layers.Cropping2D(1), (4, 4, 2), EXACT),
    "permute": (layers.Permute((2, 1)), (4, 3), EXACT),
    "reshape": (layers.Reshape((2, -1)), (4, 3), EXACT),
    "flatten": (layers.Flatten(), (4, 3), EXACT),
    "rescaling": (layers.Rescaling(-2.5, offset=1), (4,), EXACT),
    "batch_norm": (layers.BatchNormalization(), (4, 3), EXACT),
    "batch_norm_without_scale": (
        layers.BatchNormalization(scale=False),
        (3,),
        EXACT,
    ),
    "time_distributed": (
        layers.TimeDistributed(layers.Dense(4)),
        (5, 3),
        EXACT,
    ),
    "dropout": (layers.Dropout(0.5), (4,), EXACT),
    "linear_recurrence": (
        layers.SimpleRNN(3, activation="linear", return_sequences=True),
        (4, 2),
        LOOSE,
    ),
    "normalized": (
        SpectralNormalization(layers.Conv2D(4, 3), bound=1.5),
        (6, 5, 3),
        EXACT,
    ),
    "normalized_conv": (
        SpectralNormalization(layers.Conv2D(4, 3), norm="conv"),
        (6, 5, 3),
        EXACT,
    ),
    "weight_normalized": (WeightNormalization(layers.Dense(4)), (3,), EXACT),
    "normalized_inside": (
        layers.TimeDistributed(SpectralNormalization(layers.Dense(4))),
        (5, 3),
        EXACT,
    ),
}
NONLINEAR = {
    "relu": (layers.ReLU(), (4,)),
    "steep_relu": (layers.ReLU(negative_slope=1.5, max_value=2.0), (4,)),
    "leaky_relu": (layers.LeakyReLU(0.1), (4,)),
    "prelu": (layers.PReLU(alpha_initializer="random_normal"), (4,)),
    "elu": (layers.ELU(2.0), (4,)),
    "gelu": (layers.Activation("gelu"), (4,)),
    "softmax": (layers.Softmax(), (4,)),
    "activation_inside": (layers.Dense(5, activation="selu"), (4,)),
    "layer_inside": (layers.Dense(5, activation=layers.ReLU()), (4,)),
    "max_pooling": (layers.MaxPooling2D(2), (6, 6, 2)),
    "max_pooling_overlapping": (
        layers.MaxPooling2D(3, 1, padding="same"),
        (5, 5, 1),
    ),
    "global_max": (layers.GlobalMaxPooling1D(), (5, 2)),
    "layer_norm": (layers.LayerNormalization(epsilon=0.1), (4,)),
    "group_norm": (layers.GroupNormalization(2, epsilon=0.1), (3, 4)),
    "rms_norm": (layers.RMSNormalization(epsilon=0.1), (4,)),
    "recurrence": (layers.SimpleRNN(3), (2, 2)),
    "recurrence_of_all": (layers.SimpleRNN(3, return_sequences=True), (2, 2)),
    "padded_noise": (layers.GaussianNoise(1.0), (4,)),
}


def randomized(layer, shape):
    """Returns a layer, built anew, of weights that are far from special."""
    layer = type(layer).from_config(layer.get_config())
    layer(np.zeros((1, *shape), "float32"))
    rng = np.random.default_rng(0)
    for variable in layer.weights:
        if variable.name not in ("u", "u_in", "seed_generator_state"):
            value = rng.uniform(0.5, 1.5, variable.shape)
            sign = rng.choice([-1, 1], variable.shape)
            is_variance = variable.name == "moving_variance"
            variable.assign(value * (1 if is_variance else sign))
    if hasattr(layer, "settle"):
        layer.settle()
    return layer


def bound(layer, shape):
    model = keras.Sequential([keras.Input(shape), layer])
    return lipschitz.lipschitz_bounds(model, ascent_steps=0).upper


@pytest.mark.one_backend
@pytest.mark.parametrize("name", LINEAR)
def test_bound_of_a_linear_layer_is_the_norm_of_its_matrix(name):
    layer, shape, tolerance = LINEAR[name]
    layer = randomized(layer, shape)
    truth = operators.norm(layer, shape)
    found = bound(layer, shape)
    assert truth <= found * (1 + 1e-6)
    assert found <= truth * (1 + tolerance)


def attained(layer, shape):
    """Returns the largest slope between many points near and far."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(4000, *shape)) * rng.choice(
        [1e-3, 0.3, 3], (4000, *(1,) * len(shape))
    )
    steps = rng.normal(size=points.shape) * 1e-2
    points, ends = (x.astype("float32") for x in (points, points + steps))
    changes = keras.ops.convert_to_numpy(layer(ends) - layer(points))
    changes = changes.reshape(len(points), -1).astype("float64")
    steps = (ends.astype("float64") - points).reshape(len(points), -1)
    return np.max(
        np.linalg.norm(changes, axis=1) / np.linalg.norm(steps, axis=1)
    )


@pytest.mark.parametrize("name", NONLINEAR)
def test_no_slope_of_a_layer_is_above_its_bound(name):
    layer, shape = NONLINEAR[name]
    layer = randomized(layer, shape)
    slope = attained(layer, shape)
    found = bound(layer, shape)
    assert slope <= found * (1 + 1e-3)
    assert found <= slope * 6


def test_statistics_of_an_example_attain_the_bound_where_entries_agree():
    layer = randomized(layers.LayerNormalization(epsilon=0.01), (2,))
    layer.gamma.assign([0.7, -1.3])
    points = np.array([[0.0, 0.0], [1e-4, -1e-4]], "float32")
    changes = np.diff(keras.ops.convert_to_numpy(layer(points)), axis=0)
    slope = np.linalg.norm(changes) / np.linalg.norm(points[1])
    expected = np.sqrt((0.7**2 + 1.3**2) / 2) / 0.1
    assert slope == pytest.approx(expected, rel=1e-3)
    assert bound(layer, (2,)) == pytest.approx(1.3 / 0.1)


def test_max_pooling_attains_the_overlap_of_its_windows():
    layer = layers.MaxPooling2D(3, 1, padding="same")
    points = np.zeros((2, 5, 5, 1), "float32")
    points[1, 2, 2] = 1  # In nine windows at once.
    changes = np.diff(keras.ops.convert_to_numpy(layer(points)), axis=0)
    assert np.linalg.norm(changes) == bound(layer, (5, 5, 1)) / (1 + 1e-9) == 3


class Rotation(layers.Layer):
    def call(self, inputs):
        return keras.ops.roll(inputs, 1, axis=-1)


class Doubling(Rotation):
    def call(self, inputs):
        return 2 * super().call(inputs)


@pytest.fixture
def taught(monkeypatch):
    """Forgets what a test teaches."""
    from sngan_tf.certificates import rules

    monkeypatch.setattr(rules, "_TAUGHT", {})


@pytest.mark.usefixtures("taught")
def test_layers_can_be_taught():
    with pytest.raises(ValueError, match=r"Rotation 'rotation.*register_lip"):
        bound(Rotation(), (3,))
    shapes = []

    def rule(layer, input_shape):
        shapes.append(input_shape)
        return 1.0

    register_lipschitz(Rotation, rule)
    model = keras.Sequential([keras.Input((3,)), Rotation(name="around")])
    found = lipschitz.lipschitz_bounds(model, ascent_steps=0)
    assert found.upper == pytest.approx(1)
    assert found.layers == (
        lipschitz.LayerBound("around", 1.0, "registered", False),
    )
    assert not found.rigorous
    assert shapes == [(None, 3)]
    register_lipschitz(Rotation, rule, rigorous=True)
    assert lipschitz.lipschitz_bounds(model, ascent_steps=0).rigorous
    with pytest.raises(ValueError, match="Doubling"):
        bound(Doubling(), (3,))


@pytest.mark.usefixtures("taught")
def test_rule_of_a_normalised_layer_sees_its_kernel_in_effect():
    def rule(layer, input_shape):
        kernel = keras.ops.convert_to_numpy(layer.kernel)
        return np.linalg.norm(kernel, 2)

    register_lipschitz(layers.Dense, rule)
    layer = randomized(SpectralNormalization(layers.Dense(4), bound=0.5), (3,))
    assert bound(layer, (3,)) == pytest.approx(0.5, rel=1e-4)


@pytest.mark.usefixtures("taught")
def test_activations_can_be_taught():
    def bent(x):
        return keras.ops.maximum(3 * x, x)

    with pytest.raises(ValueError, match=r"activation bent.*\(bent, constant"):
        bound(layers.Activation(bent), (3,))
    register_lipschitz(bent, 3.0)
    assert bound(layers.Activation(bent), (3,)) == pytest.approx(3)


@pytest.mark.usefixtures("taught")
@pytest.mark.parametrize(
    ("kind", "rule", "message"),
    [
        (3, 1.0, "`kind` must be a class of Keras layers or an activation"),
        (str, 1.0, "`kind` must be a class of Keras layers or an activation"),
        (layers.Lambda, 1.0, "`rule` must be a function"),
        (keras.ops.exp, -1.0, "`rule` must be a number of 0 or more for exp"),
        (keras.ops.exp, float("inf"), "`rule` must be a number of 0 or more"),
        (keras.ops.exp, "1", "`rule` must be a number of 0 or more"),
    ],
)
def test_wrong_lessons_are_refused(kind, rule, message):
    with pytest.raises(ValueError, match=message):
        register_lipschitz(kind, rule)


@pytest.mark.usefixtures("taught")
@pytest.mark.parametrize("value", [None, -1.0, float("nan"), float("inf"), "a"])
def test_wrong_answers_of_a_rule_are_refused(value):
    register_lipschitz(Rotation, lambda layer, input_shape: value)
    with pytest.raises(ValueError, match="finite number of 0 or more"):
        bound(Rotation(), (3,))


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (layers.Lambda(lambda x: x), (3,), "Lambda .*no rule is known"),
        (layers.LSTM(3), (4, 2), "LSTM .*no rule is known"),
        (layers.UnitNormalization(), (4,), "UnitNormalization .*no rule"),
        (layers.ReLU(threshold=1.0), (3,), "ReLU .*it jumps"),
        (
            layers.Dense(3, activation="exponential"),
            (3,),
            "Dense .*activation exponential",
        ),
        (
            layers.UpSampling2D(2, interpolation="bilinear"),
            (3, 3, 1),
            "UpSampling2D .*`interpolation`",
        ),
        (
            layers.LayerNormalization(epsilon=0.0),
            (3,),
            "LayerNormalization .*not finite",
        ),
        (
            layers.SimpleRNN(3, stateful=False, return_state=True),
            (4, 2),
            "Simp",
        ),
    ],
)
def test_what_has_no_bound_is_refused_by_name(layer, shape, message):
    inputs = keras.Input(shape)
    model = keras.Model(inputs, layer(inputs))
    with pytest.raises(ValueError, match=message):
        lipschitz.lipschitz_bounds(model, ascent_steps=0)
