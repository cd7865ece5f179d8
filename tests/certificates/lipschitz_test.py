"""Both bounds around constants that are known, and around what is attained."""

import keras
import numpy as np
import operators
import pytest
from keras import layers
from keras import ops

from sngan_tf import networks
from sngan_tf import wrap
from sngan_tf.certificates import lipschitz
from sngan_tf.layers import ConditionalBatchNormalization

# What float32 may add to a truth, or take from an attained slope.
ROUNDED = 1 + 1e-5


def between(model, truth, tightness=1e-2, **arguments):
    """Asserts lower <= truth <= upper, lower near it, and returns bounds."""
    bounds = lipschitz.lipschitz_bounds(model, **arguments)
    assert bounds.lower <= truth * ROUNDED
    assert truth <= bounds.upper * ROUNDED
    assert truth <= bounds.lower * (1 + tightness)
    return bounds


def test_linear_chain():
    model = keras.Sequential(
        [
            keras.Input((8, 6, 2)),
            layers.Conv2D(3, 3, strides=2, padding="same"),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Dense(4, bias_initializer="ones"),
        ]
    )
    truth = operators.norm(model, (8, 6, 2))
    bounds = between(model, truth, tightness=0.02)
    expected = np.prod([operators_norm(layer) for layer in model.layers])
    assert bounds.upper == pytest.approx(expected, rel=1e-5)
    assert [layer.name for layer in bounds.layers] == [
        layer.name for layer in model.layers
    ]
    assert bounds.rigorous


def operators_norm(layer):
    return operators.norm(layer, tuple(layer.input.shape[1:]))


def test_residual_sum_is_one_plus_the_branch():
    inputs = keras.Input((6,))
    branch = layers.Dense(6, name="branch")
    model = keras.Model(inputs, layers.Add()([inputs, branch(inputs)]))
    kernel = ops.convert_to_numpy(branch.kernel).astype("float64")
    bounds = between(model, np.linalg.norm(np.eye(6) + kernel, 2))
    assert bounds.upper == pytest.approx(1 + np.linalg.norm(kernel, 2))
    assert getattr(branch.kernel.value, "grad", None) is None  # PyTorch's.
    # Where the branch is a multiple of its inputs both meet.
    branch.kernel.assign(0.7 * np.eye(6))
    bounds = between(model, 1.7)
    assert bounds.upper == pytest.approx(1.7)


@pytest.mark.one_backend
def test_branches_side_by_side_add_up_in_squares():
    inputs = keras.Input((4,))
    branches = [layers.Dense(3)(inputs), layers.Dense(2)(inputs), 2 * inputs]
    model = keras.Model(inputs, layers.Concatenate()(branches))
    norms = [*_norms(model), 2]
    bounds = between(model, operators.norm(model, (4,)))
    assert bounds.upper == pytest.approx(np.linalg.norm(norms))


def _norms(model):
    """Returns the spectral norms of its dense layers."""
    return [
        np.linalg.norm(ops.convert_to_numpy(layer.kernel), 2)
        for layer in model.layers
        if isinstance(layer, layers.Dense)
    ]


@pytest.mark.one_backend
def test_inputs_that_change_together_count_as_one_vector():
    first, second = keras.Input((3,)), keras.Input((3,))
    apart = keras.Model([first, second], layers.Concatenate()([first, second]))
    assert between(apart, 1.0).upper == pytest.approx(1)
    total = keras.Model([first, second], layers.Add()([first, 3 * second]))
    bounds = between(total, 10**0.5)
    assert bounds.upper == pytest.approx(10**0.5)
    both = keras.Model([first, second], [first, 3 * second])
    bounds = between(both, 3.0)
    assert bounds.upper == pytest.approx(3)


def piecewise(seed):
    """Returns a network of one number, and the largest slope of its pieces."""
    rng = np.random.default_rng(seed)
    inputs = keras.Input((1,))
    x = inputs
    for width in (5, 4):
        x = layers.Dense(width)(x)
        x = layers.LeakyReLU(0.2)(x)
    model = keras.Model(inputs, layers.Dense(1)(x))
    for variable in model.weights:
        variable.assign(rng.normal(size=variable.shape))
    values = [ops.convert_to_numpy(v).astype("float64") for v in model.weights]

    def slope(point):
        x, slope = np.array([point]), np.ones((1, 1))
        for w, b in zip(values[:-2:2], values[1:-2:2]):
            x, slope = x @ w + b, slope @ w
            factor = np.where(x > 0, 1.0, 0.2)
            x, slope = x * factor, slope * factor
        return abs((slope @ values[-2]).item())

    return model, max(slope(point) for point in np.linspace(-9, 9, 20001))


@pytest.mark.one_backend
@pytest.mark.parametrize("seed", range(3))
def test_piecewise_linear_functions_of_one_number(seed):
    model, truth = piecewise(seed)
    between(model, truth, tightness=0.3)


OPERATIONS = {
    "sum": lambda x: ops.sum(x, axis=(1, 2)),
    "mean": lambda x: ops.mean(x, axis=1),
    "negative": lambda x: -x,
    "scale": lambda x: 3 * x + 1,
    "divide": lambda x: x / 4,
    "array": lambda x: x * np.array([1.0, -2.0], "float32"),
    "reshape": lambda x: ops.reshape(x, (-1, 24)),
    "transpose": lambda x: ops.transpose(x, (0, 3, 1, 2)),
    "slice": lambda x: x[:, ::2],
    "pad": lambda x: ops.pad(x, ((0, 0), (1, 1), (0, 2), (0, 0))),
    "broadcast": lambda x: ops.mean(x, axis=(1, 2), keepdims=True) + x,
    "subtract": lambda x: x - ops.flip(x, axis=1),
    "average": lambda x: layers.Average()([x, 2 * x, x]),
    "open_einsum": lambda x: layers.EinsumDense("abcd,de->acbe", (3, None, 5))(
        x
    ),
    "stack": lambda x: ops.stack([x, 2 * x], axis=1),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_of_keras(name):
    inputs = keras.Input((4, 3, 2))
    model = keras.Model(inputs, OPERATIONS[name](inputs))
    truth = operators.norm(model, (4, 3, 2))
    found = lipschitz.lipschitz_bounds(model, ascent_steps=0).upper
    assert truth <= found * ROUNDED
    # Branches of one input may agree less than the bound has to assume.
    assert found <= truth * (1.001 if name != "broadcast" else 3.5)


def test_selections_and_functions_stay_below_their_bounds():
    inputs = keras.Input((5,))
    outputs = ops.maximum(ops.tanh(inputs), 2 * inputs)
    outputs = ops.leaky_relu(ops.abs(outputs), negative_slope=0.1)
    model = keras.Model(inputs, ops.gelu(ops.clip(outputs, -1, 3)))
    bounds = lipschitz.lipschitz_bounds(model)
    assert 2 < bounds.lower < bounds.upper
    # One of the entries is chosen from x' 1 and x' 2.
    assert bounds.upper == pytest.approx(5**0.5 * 1.12899, rel=1e-4)


def test_labels_are_held_fixed():
    labels = keras.Input((), dtype="int32")
    inputs = keras.Input((4,))
    embedding = layers.Embedding(3, 4)
    product = layers.Dot(1)([embedding(labels), inputs])
    dense = layers.Dense(1)
    outputs = layers.Add()([dense(inputs), product])
    model = keras.Model([inputs, labels], outputs)
    rows = ops.convert_to_numpy(embedding.embeddings).astype("float64")
    kernel = ops.convert_to_numpy(dense.kernel).astype("float64")
    truth = max(np.linalg.norm(kernel[:, 0] + row) for row in rows)
    bounds = lipschitz.lipschitz_bounds(model)
    longest = np.max(np.linalg.norm(rows, axis=1))
    assert bounds.upper == pytest.approx(np.linalg.norm(kernel) + longest)
    assert 0.3 * truth < bounds.lower <= truth * ROUNDED
    assert truth <= bounds.upper


@pytest.mark.one_backend
def test_conditional_batch_norm_takes_the_steepest_class():
    labels, inputs = keras.Input((), dtype="int32"), keras.Input((3,))
    layer = ConditionalBatchNormalization(2, epsilon=0.1)
    model = keras.Model([inputs, labels], layer(inputs, labels))
    layer.gamma.assign([[1.0, 2.0, 1.0], [0.5, -3.0, 1.0]])
    layer.normalization.moving_variance.assign([1.0, 0.8, 0.1])
    bounds = lipschitz.lipschitz_bounds(model)
    truth = max(3 / 0.9**0.5, 1 / 0.2**0.5)
    assert bounds.upper == pytest.approx(truth)
    assert bounds.lower <= truth * ROUNDED


@pytest.mark.one_backend
def test_shared_layers_and_models_inside_count_at_each_call():
    dense = layers.Dense(3)
    inside = keras.Sequential([keras.Input((3,)), dense, layers.Dense(3)])
    inputs = keras.Input((3,))
    model = keras.Model(inputs, inside(dense(inside(inputs))))
    norms = _norms(inside)
    bounds = between(model, operators.norm(model, (3,)))
    assert bounds.upper == pytest.approx(norms[0] ** 3 * norms[1] ** 2)
    assert [layer.name for layer in bounds.layers] == [
        *(layer.name for layer in inside.layers),
        dense.name,
        *(layer.name for layer in inside.layers),
    ]


@pytest.mark.one_backend
def test_layer_alone_and_open_sizes():
    dense = layers.Dense(4)
    dense.build((None, 3))
    kernel = ops.convert_to_numpy(dense.kernel).astype("float64")
    between(dense, np.linalg.norm(kernel, 2))
    model = keras.Sequential(
        [keras.Input((None, None, 1)), layers.Conv2D(2, 3)]
    )
    for size in (3, 6):
        closed = keras.Sequential([keras.Input((size, size, 1)), *model.layers])
        between(
            model,
            operators.norm(closed, (size, size, 1)),
            input_shape=(size, size, 1),
        )
    with pytest.raises(ValueError, match="`input_shape` must give each input"):
        lipschitz.lipschitz_bounds(model)
    with pytest.raises(ValueError, match=r"Received: input_shape=\(6, 6, 3\)"):
        lipschitz.lipschitz_bounds(model, (6, 6, 3))


@pytest.mark.one_backend
def test_normalised_layers_go_by_the_names_of_their_kernels():
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.Conv2D(3, 3, name="conv"),
            layers.Flatten(),
            layers.Dense(2, name="dense"),
        ]
    )
    weights = [ops.convert_to_numpy(w) for w in model.weights]
    model = wrap(model, norm="conv", bound=1.5)
    bounds = lipschitz.lipschitz_bounds(model)
    assert [layer.name for layer in bounds.layers][::2] == ["conv", "dense"]
    assert bounds.upper == pytest.approx(1.5**2, rel=0.01)
    assert bounds.lower <= operators.norm(model, (6, 6, 2)) * ROUNDED
    for weight, before in zip(model.trainable_weights, weights):
        np.testing.assert_array_equal(ops.convert_to_numpy(weight), before)


def _inside(layer):
    return keras.Sequential([keras.Input((4, 4)), layer])


@pytest.mark.parametrize(
    "outputs",
    [
        lambda x: x * x,
        lambda x: ops.exp(x),
        lambda x: ops.mean(x, axis=0, keepdims=True) + x,
        lambda x: layers.Dropout(0.5)(x, training=True),
        lambda x: layers.MultiHeadAttention(2, 3)(x, x),
        lambda x: layers.Dot((1, 1))([x, x]),
        lambda x: _inside(layers.BatchNormalization())(x, training=True),
        lambda x: layers.Dot((1, 1), normalize=True)([x, x]),
        lambda x: ops.cast(ops.cast(x, "int32"), "float32"),
        lambda x: 1 / x,
        lambda x: x / ops.sum(x, axis=1, keepdims=True),
        lambda x: ops.take(x, [0, 0, 0], axis=1),
        lambda x: ops.pad(x, ((0, 0), (1, 1), (0, 0)), mode="reflect"),
        lambda x: layers.Bidirectional(layers.LSTM(2))(x),
    ],
)
def test_what_has_no_bound_is_refused(outputs):
    inputs = keras.Input((4, 4))
    model = keras.Model(inputs, outputs(inputs))
    with pytest.raises(ValueError, match=r"no Lipschitz bound of \w+ '\w+'"):
        lipschitz.lipschitz_bounds(model, ascent_steps=0)


def test_cosine_with_a_constant_is_refused():
    inputs, labels = keras.Input((4,)), keras.Input((), dtype="int32")
    rows = layers.Embedding(3, 4)(labels)
    model = keras.Model(
        [inputs, labels], layers.Dot(1, normalize=True)([rows, inputs])
    )
    with pytest.raises(ValueError, match="Dot 'dot.*divides by lengths"):
        lipschitz.lipschitz_bounds(model, ascent_steps=0)


def test_models_with_a_call_of_their_own_are_refused():
    class Own(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(ValueError, match="`model` must be a built Functional"):
        lipschitz.lipschitz_bounds(Own())


@pytest.mark.one_backend
def test_nothing_changes_and_results_repeat():
    model, _ = piecewise(0)
    before = [ops.convert_to_numpy(w) for w in model.weights]
    first = lipschitz.lipschitz_bounds(model)
    keras.utils.set_random_seed(7)
    drawn = keras.random.normal((2,))
    keras.utils.set_random_seed(7)
    assert lipschitz.lipschitz_bounds(model) == first
    np.testing.assert_array_equal(
        ops.convert_to_numpy(keras.random.normal((2,))),
        ops.convert_to_numpy(drawn),
    )
    for weight, value in zip(model.weights, before):
        np.testing.assert_array_equal(ops.convert_to_numpy(weight), value)
        assert weight.trainable


@pytest.mark.slow
@pytest.mark.one_backend
# Between them they have every kind of layer and of merge.
@pytest.mark.parametrize(
    ("name", "which"),
    [
        ("cnn", "generator"),
        ("resnet_projection", "generator"),
        ("cnn", "discriminator"),
        ("resnet_concat", "discriminator"),
        ("resnet_projection", "discriminator"),
        ("acgan_resnet", "discriminator"),
    ],
)
def test_networks_have_both_bounds(name, which):
    conditional = networks.NETWORKS[name].conditional
    generator, discriminator = networks.build(
        name, (32, 32, 1), 8, 0.02, num_classes=3 if conditional else None
    )
    model = generator if which == "generator" else discriminator
    # To differentiate others takes its time, and shows no more.
    ascends = (name, which) in [
        ("cnn", "discriminator"),
        ("resnet_projection", "discriminator"),
    ]
    steps = 3 if ascends else 0
    bounds = lipschitz.lipschitz_bounds(model, ascent_steps=steps)
    assert bounds.rigorous
    slope = attained(model)
    assert 0 < slope <= bounds.upper < 1e9
    assert (bounds.lower > 0) == (steps > 0)
    assert bounds.lower < bounds.upper


def attained(model):
    """Returns the largest slope between points that were not looked for."""
    rng = np.random.default_rng(1)

    def normal(shape):
        return rng.normal(size=(64, *shape)).astype("float32")

    first, *labels = (
        normal(x.shape[1:])
        if keras.backend.is_float_dtype(x.dtype)
        else rng.integers(3, size=(64,))
        for x in model.inputs
    )
    step = normal(first.shape[1:])
    outputs = []
    for end in (first, first + step):
        found = model([end, *labels] if labels else end, training=False)
        rows = [
            ops.convert_to_numpy(y).reshape(64, -1)
            for y in keras.tree.flatten(found)
        ]
        outputs.append(np.concatenate(rows, axis=1))
    changes = np.linalg.norm(outputs[1] - outputs[0], axis=1)
    return np.max(changes / np.linalg.norm(step.reshape(64, -1), axis=1))


def test_cost_of_paths_grows_with_calls_not_with_paths():
    # Forty sums in a row are 2^40 paths.
    inputs = x = keras.Input((1,))
    for _ in range(40):
        x = layers.Add()([x, x])
    bounds = lipschitz.lipschitz_bounds(keras.Model(inputs, x), ascent_steps=0)
    assert bounds.upper == pytest.approx(2.0**40)
    assert len(bounds.layers) == 40
