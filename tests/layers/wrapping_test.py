import keras
import numpy as np
import pytest
from keras import layers

import sngan_tf
from sngan_tf import SpectralNormalization
from sngan_tf.layers import FrobeniusNormalization
from sngan_tf.layers import SpectralRegularization
from sngan_tf.layers import WeightNormalization
from sngan_tf.layers import kernels
from sngan_tf.layers.kernel_normalization import KernelNormalization

IMAGES = np.random.default_rng(0).normal(size=(2, 6, 6, 3)).astype("float32")
SEQUENCES = np.random.default_rng(0).normal(size=(2, 5, 6)).astype("float32")


def convolutions():
    return keras.Sequential(
        [
            layers.Input(IMAGES.shape[1:]),
            layers.Conv2D(4, 3, name="conv_1"),
            layers.BatchNormalization(),
            layers.Conv2DTranspose(5, 3, name="conv_2"),
            layers.SeparableConv2D(4, 3, name="separable"),
            keras.Sequential(
                [layers.Flatten(), layers.Dense(3, "tanh", name="dense")]
            ),
        ]
    )


def shared_and_attended():
    shared = layers.Dense(6, name="shared")
    inputs = keras.Input(SEQUENCES.shape[1:])
    hidden = shared(layers.LayerNormalization()(shared(inputs)))
    attended = layers.MultiHeadAttention(2, 3)(hidden, inputs)
    outputs = layers.Bidirectional(layers.GRU(3))(2.0 * attended)
    return keras.Model(inputs, outputs, name="attended")


def model_in_model():
    inner = shared_and_attended()
    inputs = keras.Input(SEQUENCES.shape[1:])
    return keras.Model(
        inputs, layers.Add()([inner(inputs), inner(-1.0 * inputs)])
    )


MODELS = {
    convolutions: IMAGES,
    shared_and_attended: SEQUENCES,
    model_in_model: SEQUENCES,
}


@pytest.fixture(
    params=[
        convolutions,
        shared_and_attended,
        pytest.param(model_in_model, marks=pytest.mark.slow),
    ],
    ids=lambda function: function.__name__,
)
def model_and_inputs(request):
    """A model that no initializer would give: every weight has moved."""
    model = request.param()
    rng = np.random.default_rng(1)
    for weight in model.weights:
        weight.assign(weight + rng.uniform(0.1, 0.9, weight.shape))
    return model, MODELS[request.param]


def arrays(model):
    return [np.array(weight) for weight in model.weights]


def divided(model, divisor):
    """Divides every kernel in place, by a function of its matrix."""
    for kernel, axes in kernels.find_kernels(model):
        others = [i for i in range(len(kernel.shape)) if i not in axes]
        others = [i for i in others if i - len(kernel.shape) not in axes]
        d_out = np.prod([kernel.shape[axis] for axis in axes])
        matrix = np.transpose(kernel, [*axes, *others]).reshape(d_out, -1)
        kernel.assign(kernel / divisor(matrix))


def largest_singular_value(matrix):
    return np.linalg.svd(matrix.astype("float64"), compute_uv=False)[0]


@pytest.mark.parametrize(
    ("wrapper", "divisor"),
    [
        (SpectralNormalization, largest_singular_value),
        pytest.param(
            FrobeniusNormalization,
            np.linalg.norm,
            marks=pytest.mark.one_backend,
        ),
        pytest.param(
            SpectralRegularization,
            lambda matrix: 1.0,
            marks=pytest.mark.one_backend,
        ),
    ],
)
def test_wrapped_model_computes_with_divided_kernels(
    model_and_inputs, wrapper, divisor
):
    model, inputs = model_and_inputs
    outputs = sngan_tf.wrap(model, wrapper)(inputs)
    divided(model, divisor)
    np.testing.assert_allclose(outputs, model(inputs), rtol=1e-4, atol=1e-5)


def test_weights_are_kept_and_the_given_model_left_alone(model_and_inputs):
    model, inputs = model_and_inputs
    before = arrays(model)
    wrapped = sngan_tf.wrap(model)
    kept = [np.array(w) for w in wrapped.weights if w.name != "u"]
    # A wrapper lists them in another order.
    assert sorted(w.tobytes() for w in kept) == sorted(
        w.tobytes() for w in before
    )
    wrapped(inputs, training=True)
    for weight in wrapped.weights:
        weight.assign(np.zeros(weight.shape))
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_u_is_settled_on_the_kept_kernels(model_and_inputs):
    model, _ = model_and_inputs
    norms = sngan_tf.layers.spectral_norms(sngan_tf.wrap(model))
    assert [*norms.values()] == pytest.approx([1.0] * len(norms), abs=1e-4)


def test_model_with_learned_scales_starts_unchanged(model_and_inputs):
    model, inputs = model_and_inputs
    wrapped = sngan_tf.wrap(model, learn_scale=True)
    np.testing.assert_allclose(
        wrapped(inputs), model(inputs), rtol=1e-4, atol=1e-5
    )


def test_fold_undoes_it_up_to_the_division(model_and_inputs):
    model, _ = model_and_inputs
    folded = sngan_tf.fold(sngan_tf.wrap(model))
    names = [[layer.name for layer in m.layers[1:]] for m in (folded, model)]
    operations = [[n for n in found if "multiply" not in n] for found in names]
    assert operations[0] == operations[1]
    divided(model, largest_singular_value)
    for a, b in zip(folded.weights, model.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def normalized(model):
    return [
        layer.name
        for layer in kernels.sublayers(model)
        if isinstance(layer, KernelNormalization)
    ]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        (None, ["conv_1", "conv_2", "separable", "dense"]),
        ("conv", ["conv_1", "conv_2"]),
        ("^conv_2$", ["conv_2"]),
        ("se", ["separable", "dense"]),
    ],
)
def test_those_that_match_are_wrapped(pattern, names):
    wrapped = sngan_tf.wrap(convolutions(), layers=pattern)
    assert normalized(wrapped) == names


def test_arguments_reach_the_wrapper():
    wrapped = sngan_tf.wrap(
        convolutions(), layers="conv", bound=0.5, power_iterations=3
    )
    for name in ("conv_1", "conv_2"):
        layer = wrapped.get_layer(name)
        assert (layer.bound, layer.power_iterations) == (0.5, 3)
    norms = sngan_tf.layers.spectral_norms(wrapped)
    assert norms["conv_1"] == pytest.approx(0.5, abs=1e-4)


def test_compiled_model_stays_compiled():
    model = keras.Sequential([layers.Input((3,)), layers.Dense(2)])
    model.compile(keras.optimizers.SGD(0.25), "mse")
    wrapped = sngan_tf.wrap(model)
    assert wrapped.optimizer is not model.optimizer
    assert float(wrapped.optimizer.learning_rate) == 0.25


def test_shared_layers_stay_shared():
    wrapped = sngan_tf.wrap(shared_and_attended())
    assert normalized(wrapped).count("shared") == 1
    before = np.array(wrapped.get_layer("shared").kernels[0])
    wrapped.get_layer("shared").kernels[0].assign(2 * before)
    # Scaled in both places, so that the division takes it out of both.
    np.testing.assert_allclose(
        wrapped(SEQUENCES),
        sngan_tf.wrap(sngan_tf.fold(wrapped), layers="^shared$")(SEQUENCES),
        rtol=1e-4,
        atol=1e-5,
    )


@keras.saving.register_keras_serializable("wrapping_test")
class Block(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = SpectralNormalization(layers.Dense(3))

    def build(self, shape):
        self.dense.build(shape)

    def call(self, inputs):
        return self.dense(inputs)


def test_what_is_normalized_already_stays_as_it_is():
    model = keras.Sequential(
        [
            layers.Input((5,)),
            WeightNormalization(layers.Dense(4), name="rows"),
            Block(name="block"),
            layers.Dense(2, name="bare"),
        ]
    )
    wrapped = sngan_tf.wrap(model)
    kinds = [type(layer) for layer in wrapped.layers]
    assert kinds == [WeightNormalization, Block, SpectralNormalization]
    inputs = np.ones((2, 5), "float32")
    divided(model.get_layer("bare"), largest_singular_value)
    np.testing.assert_allclose(wrapped(inputs), model(inputs), rtol=1e-4)


def test_wrapped_model_survives_a_file(tmp_path):
    wrapped = sngan_tf.wrap(shared_and_attended())
    wrapped.save(tmp_path / "wrapped.keras")
    loaded = keras.models.load_model(tmp_path / "wrapped.keras")
    np.testing.assert_array_equal(loaded(SEQUENCES), wrapped(SEQUENCES))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"layers": "deconv"},
            r"`layers` must match .*layers='deconv'.*'conv_1', 'conv_2', 's",
        ),
        ({"layers": "("}, r"`layers` must be a regular expression.*'\('"),
        (
            {"wrapper": layers.TimeDistributed},
            "`wrapper` must be a normalization.*TimeDistributed",
        ),
        ({"bound": -1.0}, "`bound` must be positive"),
    ],
)
def test_wrong_argument_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        sngan_tf.wrap(convolutions(), **arguments)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (keras.Sequential([layers.Dense(3)], name="lonely"), "built.*lonely"),
        (layers.Dense(3, name="lonely"), "built.*lonely"),
        (
            keras.Sequential(
                [layers.Input((2,)), SpectralNormalization(layers.Dense(3))]
            ),
            r"not normalised yet.*: \[\]$",
        ),
    ],
)
def test_model_that_can_not_be_wrapped_is_named(model, message):
    with pytest.raises(ValueError, match=message):
        sngan_tf.wrap(model)


def test_subclassed_model_is_refused():
    class Subclassed(keras.Model):
        def call(self, inputs):
            return inputs

    model = Subclassed(name="own")
    model(SEQUENCES)
    with pytest.raises(ValueError, match=r"Functional and Seq.*d 'own'$"):
        sngan_tf.wrap(model)
