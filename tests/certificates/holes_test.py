"""What looks like a layer with a rule, and computes something else."""

import keras
import numpy as np
import operators
import pytest
from keras import layers
from keras import ops

import sngan_tf
from sngan_tf.certificates import lipschitz
from sngan_tf.layers import ConditionalBatchNormalization

pytestmark = pytest.mark.one_backend


def upper(model):
    return lipschitz.lipschitz_bounds(model, ascent_steps=0).upper


def model_of(outputs, shape=(4, 3)):
    inputs = keras.Input(shape)
    return keras.Model(inputs, outputs(inputs))


def model_of_labels(outputs):
    inputs, labels = keras.Input((4, 3)), keras.Input((4,), dtype="int32")
    return keras.Model([inputs, labels], outputs(inputs, labels))


class Fivefold(layers.Embedding):
    def call(self, inputs):
        return 5 * super().call(inputs)


class Twice(layers.SpectralNormalization):
    def call(self, inputs, training=False):
        return 2 * super().call(inputs, training=training)


class TwiceOurs(sngan_tf.SpectralNormalization):
    def call(self, inputs, training=None):
        return 2 * super().call(inputs, training=training)


def rounded(x):
    inside = keras.Input((4, 3), dtype="int32")
    return keras.Model(inside, ops.cast(inside, "float32"))(1 * x)


def of_another_rank(x):
    inside = keras.Sequential([keras.Input((1,)), layers.Dense(3)])
    return inside(ops.sum(x, axis=(1, 2)))


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (lambda x: ops.concatenate([x, x], axis=0), "mixes the examples"),
        (lambda x: layers.Concatenate(axis=0)([x, x]), "mixes the examples"),
        (lambda x: x + ops.flip(x), "mixes the examples"),
        (lambda x: ops.softmax(x, axis=0), "mixes the examples"),
        (lambda x: layers.Softmax(axis=(0, 1))(x), "mixes the examples"),
        (lambda x: ops.reshape(x, (-1, 24)), "mixes the examples"),
        (lambda x: x + ops.sum(x, axis=1), "mixes the examples"),
        (lambda x: ops.pad(x, ((0, 1), (0, 0), (0, 0))), "pads the batch"),
        (lambda x: ops.divide(x, True), "Divide 'divide"),
        (lambda x: ops.celu(x, alpha=-0.5), "`alpha` is negative"),
        (lambda x: ops.soft_shrink(x, threshold=-1.0), "`threshold` is neg"),
        (lambda x: ops.squareplus(x, b=-0.5), "`b` is negative"),
        (rounded, "Functional 'functional"),
        (of_another_rank, "Sequential 'sequential"),
        (lambda x: Twice(layers.Dense(3))(x), "Twice 'twice"),
        (lambda x: TwiceOurs(layers.Dense(3))(x), "TwiceOurs 'twice_ours"),
        (
            lambda x: layers.LayerNormalization(rms_scaling=True)(x),
            "has not centred",
        ),
        (
            lambda x: layers.Dense(3, activation=layers.UpSampling1D(2))(x),
            "Dense 'dense.*is not built",
        ),
        (
            lambda x: layers.Dense(
                3, activation=layers.GlobalAveragePooling1D()
            )(x),
            "Dense 'dense.*changes shapes",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:You passed `rms_scaling")
def test_what_only_looks_known_is_refused(outputs, message):
    with pytest.raises(ValueError, match=f"no Lipschitz bound of .*{message}"):
        upper(model_of(outputs))


@pytest.mark.parametrize("name", ["scale", "offset"])
def test_rescaling_that_makes_copies_is_refused(name):
    arguments = {"scale": 1.0, name: [1.0, 2.0, 3.0]}
    assert upper(model_of(layers.Rescaling(**arguments), (4, 3))) >= 1
    with pytest.raises(ValueError, match="Rescaling .*another shape"):
        upper(model_of(layers.Rescaling(**arguments), (4, 1)))


@pytest.mark.parametrize(
    "embedded",
    [
        lambda labels: Fivefold(4, 3)(labels),
        # A product has 1 where the mask is.
        lambda labels: layers.Embedding(4, 3, mask_zero=True)(labels),
        lambda labels: layers.Dropout(0.9)(
            layers.Embedding(4, 3)(labels), training=True
        ),
    ],
)
def test_factors_of_unknown_size_are_refused(embedded):
    model = model_of_labels(
        lambda x, labels: layers.Multiply()([x, embedded(labels)])
    )
    with pytest.raises(ValueError, match="no Lipschitz bound of"):
        upper(model)


@pytest.mark.parametrize("kind", ["int8", "lora"])
def test_quantized_embeddings_are_refused(kind):
    embedding = layers.Embedding(4, 3)
    model = model_of_labels(
        lambda x, labels: layers.Multiply()([x, embedding(labels)])
    )
    if kind == "lora":
        embedding.enable_lora(2)
    else:
        embedding.quantize(kind)
    with pytest.raises(ValueError, match="Embedding .*quantized or has LoRA"):
        upper(model)


def test_class_that_changes_is_refused():
    inputs, labels = keras.Input((), dtype="int32"), keras.Input(())
    x = layers.Embedding(4, 3)(inputs)
    outputs = ConditionalBatchNormalization(3)(x, labels)
    with pytest.raises(ValueError, match="labels are not held fixed"):
        upper(keras.Model([inputs, labels], outputs))


def test_parameter_of_nan_is_refused():
    model = model_of(layers.PReLU())
    model.layers[-1].alpha.assign(np.full((4, 3), np.nan))
    with pytest.raises(ValueError, match="PReLU .*not finite"):
        upper(model)


@pytest.mark.parametrize(
    ("merge", "truth"),
    [
        (lambda x, y: x + y, 5**0.5),
        (lambda x, y: ops.maximum(x, y), 2.0),
        (lambda x, y: layers.Subtract()([x, y]), 5**0.5),
    ],
)
def test_bound_of_a_call_counts_copies(merge, truth):
    first, second = keras.Input((4, 3)), keras.Input((1, 3))
    model = keras.Model([first, second], merge(first, second))
    bounds = lipschitz.lipschitz_bounds(model, ascent_steps=0)
    assert bounds.layers[0].bound == pytest.approx(truth)
    assert bounds.upper >= truth


def test_bound_of_a_product_counts_copies():
    model = model_of(lambda x: x * np.full((1, 4, 3), -2.0, "float32"), (1, 3))
    bounds = lipschitz.lipschitz_bounds(model, ascent_steps=0)
    assert bounds.layers[0].bound == pytest.approx(4)
    assert bounds.upper == pytest.approx(operators.norm(model, (1, 3)))


@pytest.mark.parametrize("size", [1e-170, 1e200])
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (layers.Dense(3, dtype="float64"), (4,)),
        (layers.Conv1D(3, 3, dtype="float64"), (6, 2)),
    ],
)
def test_kernels_whose_squares_leave_float64(layer, shape, size):
    layer = type(layer).from_config(layer.get_config())
    model = keras.Sequential([keras.Input(shape, dtype="float64"), layer])
    kernel = np.random.default_rng(0).normal(size=layer.kernel.shape)
    layer.kernel.assign(kernel)
    truth = upper(model)
    layer.kernel.assign(size * kernel)
    assert upper(model) / size == pytest.approx(truth)
    (norm,) = sngan_tf.operator_norms(model).values()
    assert norm.upper / size == pytest.approx(truth)
    assert norm.lower / size == pytest.approx(truth)


def test_quantized_kernel_has_no_norm():
    model = keras.Sequential([keras.Input((8,)), layers.Dense(4, name="a")])
    model.layers[0].quantize("int8")
    norm = sngan_tf.operator_norms(model)["a"]
    assert norm == (0.0, np.inf, "unknown")


def test_fixed_batch_counts_as_any():
    inputs = keras.Input((4,), batch_size=2)
    dense = layers.Dense(3)
    model = keras.Model(inputs, dense(inputs))
    kernel = ops.convert_to_numpy(dense.kernel).astype("float64")
    assert upper(model) == pytest.approx(np.linalg.norm(kernel, 2))


@pytest.fixture(params=["mixed_float16", "bfloat16", "float64"])
def policy(request):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield
    keras.config.set_dtype_policy(before)


@pytest.mark.usefixtures("policy")
def test_attained_slope_allows_for_the_rounding_of_a_policy():
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Rescaling(1.0, offset=10.0),
            layers.Dense(4),
        ]
    )
    bounds = lipschitz.lipschitz_bounds(model, ascent_steps=20)
    kernel = ops.convert_to_numpy(ops.cast(model.layers[1].kernel, "float32"))
    assert 0 <= bounds.lower <= np.linalg.norm(kernel, 2) * (1 + 1e-4)


def test_what_cancels_is_no_slope():
    model = model_of(lambda x: (x + 1e6) - 1e6, (5,))
    bounds = lipschitz.lipschitz_bounds(model, ascent_steps=5)
    assert bounds.lower <= bounds.upper == pytest.approx(1)


def test_inputs_may_be_a_dictionary():
    first, second = keras.Input((3,), name="b"), keras.Input((3,), name="a")
    model = keras.Model({"b": first, "a": second}, 2 * first + second)
    bounds = lipschitz.lipschitz_bounds(model, ascent_steps=100)
    assert bounds.upper == pytest.approx(5**0.5)
    assert bounds.lower == pytest.approx(5**0.5, rel=0.01)


def built(layer, shape):
    layer.build(shape)
    return layer


@pytest.mark.parametrize(
    "model",
    [
        None,
        "model",
        layers.Dense(3),
        keras.Sequential([layers.Dense(3)]),
        built(layers.Add(), [(None, 3), (None, 3)]),
    ],
)
def test_what_is_no_built_model_is_refused(model):
    for measure in (lipschitz.lipschitz_bounds, sngan_tf.spectral_complexity):
        with pytest.raises(ValueError, match="^`model` must be a built Func"):
            measure(model)
    if not getattr(model, "built", False):
        with pytest.raises(ValueError, match="^`model` must be a built Keras"):
            sngan_tf.operator_norms(model)


@pytest.mark.parametrize(
    "input_shape", [4, [4], "ab", (-4, 2), (0, 2), (4.5, 2), (4, 2, 1)]
)
def test_shapes_that_are_none_are_refused(input_shape):
    model = keras.Sequential([keras.Input((None, 2)), layers.Conv1D(3, 3)])
    for measure in (lipschitz.lipschitz_bounds, sngan_tf.operator_norms):
        with pytest.raises(ValueError, match="^`input_shape` must give each"):
            measure(model, input_shape=input_shape)


def test_size_below_that_of_a_kernel_is_refused():
    model = keras.Sequential(
        [keras.Input((None, 2)), layers.Conv1D(3, 5, name="wide")]
    )
    for measure in (lipschitz.lipschitz_bounds, sngan_tf.operator_norms):
        with pytest.raises(ValueError, match="^Conv1D must .*Received: wide"):
            measure(model, input_shape=(2, 2))


@pytest.mark.parametrize("steps", [-1, 2.5])
def test_number_of_steps_must_be_whole(steps):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    with pytest.raises(ValueError, match="^`ascent_steps` must be a whole"):
        lipschitz.lipschitz_bounds(model, ascent_steps=steps)
