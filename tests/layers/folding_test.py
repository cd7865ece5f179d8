import json

import keras
import numpy as np
import pytest
from keras import layers

import sngan_tf
from sngan_tf import SpectralNormalization

IMAGES = np.random.default_rng(0).normal(size=(2, 6, 6, 3)).astype("float32")
SEQUENCES = np.random.default_rng(0).normal(size=(2, 5, 6)).astype("float32")
BOUND, SCALE = {"bound": 3.0}, {"learn_scale": True}


def nested_sequential():
    head = keras.Sequential(
        [layers.Flatten(), SpectralNormalization(layers.Dense(3, "tanh"))]
    )
    return keras.Sequential(
        [
            layers.Input(IMAGES.shape[1:]),
            SpectralNormalization(layers.Conv2D(4, 3), bound=2.0),
            layers.BatchNormalization(),
            keras.Sequential([SpectralNormalization(layers.Conv2D(4, 3))]),
            head,
        ]
    )


def functional_with_shared_layers():
    shared = SpectralNormalization(layers.Dense(6), learn_scale=True)
    inputs = keras.Input(SEQUENCES.shape[1:])
    hidden = shared(layers.LayerNormalization()(shared(inputs)))
    attended = SpectralNormalization(
        layers.MultiHeadAttention(2, 3), learn_scale=True
    )(hidden, inputs)
    outputs = SpectralNormalization(layers.GRU(3), bound=0.5)(attended)
    return keras.Model(inputs, outputs)


def functional_in_functional():
    inner = functional_with_shared_layers()
    inputs = keras.Input(SEQUENCES.shape[1:])
    return keras.Model(
        inputs, layers.Add()([inner(inputs), inner(-1.0 * inputs)])
    )


def half_precision():
    return keras.Sequential(
        [
            layers.Input(SEQUENCES.shape[1:]),
            SpectralNormalization(layers.Dense(4, dtype="float16")),
        ]
    )


def plain():
    return keras.Sequential([layers.Input((5, 6)), layers.Dense(4)])


MODELS = {
    nested_sequential: IMAGES,
    functional_with_shared_layers: SEQUENCES,
    functional_in_functional: SEQUENCES,
    half_precision: SEQUENCES,
    plain: SEQUENCES,
}


@pytest.fixture(params=MODELS, ids=lambda function: function.__name__)
def model_and_inputs(request):
    """A model that no initializer would give: every variable has moved."""
    model, inputs = request.param(), MODELS[request.param]
    rng = np.random.default_rng(1)
    for variable in model.weights:
        variable.assign(variable + rng.uniform(0.1, 0.3, variable.shape))
    model(inputs, training=True)
    return model, inputs


def names_of(model):
    """Of what is wrapped; input layers Keras renames in every clone."""
    return [
        getattr(layer, "layer", layer).name
        for layer in model.layers
        if layer.weights
    ]


def test_folded_model_is_plain_and_has_equal_outputs(model_and_inputs):
    model, inputs = model_and_inputs
    folded = sngan_tf.fold(model)
    np.testing.assert_allclose(
        folded(inputs), model(inputs), rtol=1e-5, atol=1e-6
    )
    assert "sngan_tf" not in json.dumps(
        keras.saving.serialize_keras_object(folded)
    )
    assert "u" not in {variable.name for variable in folded.variables}
    assert names_of(folded) == names_of(model)


def test_original_is_left_alone(model_and_inputs):
    model, _ = model_and_inputs
    before = [np.array(variable) for variable in model.variables]
    folded = sngan_tf.fold(model)
    for variable in folded.variables:
        variable.assign(np.zeros(variable.shape))
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


@pytest.mark.parametrize(
    ("layer", "inputs", "arguments"),
    [
        (layers.Dense(4), [SEQUENCES], BOUND),
        (layers.Conv2DTranspose(4, 3), [IMAGES], SCALE),
        (layers.SeparableConv2D(4, 3), [IMAGES], BOUND),
        (layers.SeparableConv2D(4, 3), [IMAGES], SCALE),
        (layers.Embedding(7, 3), [np.array([[1, 2, 6]])], SCALE),
        (layers.Bidirectional(layers.LSTM(3)), [SEQUENCES], BOUND),
        (layers.MultiHeadAttention(2, 3), [SEQUENCES] * 2, SCALE),
        (
            keras.Sequential([layers.Dense(4), layers.Dense(3)]),
            [SEQUENCES],
            BOUND,
        ),
    ],
    ids=lambda x: getattr(x, "name", ""),
)
def test_single_layer_is_folded(layer, inputs, arguments):
    layer = type(layer).from_config(layer.get_config())
    wrapper = SpectralNormalization(layer, **arguments)
    wrapper(*inputs)
    for variable in wrapper.trainable_variables:
        variable.assign(variable + 0.1)
    folded = sngan_tf.fold(wrapper)
    assert type(folded) is type(layer)
    assert folded.name == layer.name
    assert len(folded.weights) == len(layer.weights)
    np.testing.assert_allclose(
        folded(*inputs), wrapper(*inputs), rtol=1e-5, atol=1e-6
    )


def test_folded_model_survives_a_file(tmp_path):
    folded = sngan_tf.fold(functional_with_shared_layers())
    folded.save(tmp_path / "folded.keras")
    loaded = keras.models.load_model(tmp_path / "folded.keras")
    np.testing.assert_array_equal(loaded(SEQUENCES), folded(SEQUENCES))


def test_given_names_stay_and_others_give_way():
    model = keras.Sequential(
        [
            layers.Input((4,)),
            SpectralNormalization(layers.Dense(4, name="a")),
            SpectralNormalization(layers.Dense(4, name="a")),
            SpectralNormalization(layers.Dense(4, name="b"), name="own"),
            layers.Dense(4, name="a_1"),
            SpectralNormalization(layers.Dense(4, name="x"), name="a"),
            SpectralNormalization(layers.Dense(4, name="own")),
        ]
    )
    names = [layer.name for layer in sngan_tf.fold(model).layers]
    assert names == ["a_2", "a_3", "own", "a_1", "a", "own_1"]
    # Inside the wrapper of a loaded model too, the name is Keras's own.
    layer = SpectralNormalization(layers.Dense(2, name="d"))
    layer.build((None, 3))
    copy = SpectralNormalization.from_config(layer.get_config())
    copy.build((None, 3))
    assert sngan_tf.fold(copy).name == "d"
    named = SpectralNormalization(layers.Dense(2), name="mine")
    named.build((None, 3))
    assert sngan_tf.fold(named).name == "mine"


def test_folded_model_is_not_compiled(tmp_path):
    sizes, models = [], []
    for compiled in (False, True):
        model = keras.Sequential(
            [
                layers.Input((64,)),
                SpectralNormalization(layers.Dense(64)),
                keras.Sequential([SpectralNormalization(layers.Dense(64))]),
            ]
        )
        for part in (model, model.layers[-1]):
            if compiled:
                part.compile("adam", "mse")
                part.optimizer.build(part.trainable_variables)
        folded = sngan_tf.fold(model)
        folded.save(tmp_path / "folded.keras")
        sizes.append((tmp_path / "folded.keras").stat().st_size)
        models += [model, folded, folded.layers[-1]]
    assert [model.compiled for model in models[-3:]] == [True, False, False]
    assert models[-3].layers[-1].compiled
    assert sizes[1] == pytest.approx(sizes[0], rel=0.05)


@keras.saving.register_keras_serializable("folding_test")
class Block(layers.Layer):
    """A custom layer whose config holds the layers in it."""

    def __init__(self, parts, **kwargs):
        super().__init__(**kwargs)
        self.parts = [
            keras.saving.deserialize_keras_object(part)
            if isinstance(part, dict)
            else part
            for part in parts
        ]

    def build(self, shape):
        for part in self.parts:
            if not part.built:
                part.build(shape)
            shape = part.compute_output_shape(shape)

    def call(self, inputs):
        for part in self.parts:
            inputs = part(inputs)
        return inputs

    def get_config(self):
        parts = map(keras.saving.serialize_keras_object, self.parts)
        return {**super().get_config(), "parts": list(parts)}


@pytest.mark.parametrize(
    "around",
    [
        lambda: layers.TimeDistributed(
            SpectralNormalization(layers.Dense(3), bound=2.0)
        ),
        lambda: Block(
            [
                SpectralNormalization(layers.Dense(4), learn_scale=True),
                layers.Dense(3),
                SpectralNormalization(layers.Dense(2)),
            ]
        ),
    ],
    ids=["time_distributed", "block"],
)
def test_layer_that_holds_a_wrapper_is_folded(around, tmp_path):
    model = keras.Sequential([layers.Input(SEQUENCES.shape[1:]), around()])
    for variable in model.trainable_variables:
        variable.assign(variable + 0.1)
    model(SEQUENCES, training=True)
    folded = sngan_tf.fold(model)
    np.testing.assert_allclose(
        folded(SEQUENCES), model(SEQUENCES), rtol=1e-5, atol=1e-6
    )
    assert "sngan_tf" not in folded.to_json()
    folded.save(tmp_path / "folded.keras")
    loaded = keras.models.load_model(tmp_path / "folded.keras")
    np.testing.assert_array_equal(loaded(SEQUENCES), folded(SEQUENCES))


@pytest.mark.parametrize(
    "model",
    [
        SpectralNormalization(layers.Dense(3), name="lonely"),
        keras.Sequential(
            [SpectralNormalization(layers.Dense(3))], name="lonely"
        ),
    ],
    ids=["layer", "model"],
)
def test_unbuilt_model_is_refused(model):
    with pytest.raises(ValueError, match=r"must be built.*lonely"):
        sngan_tf.fold(model)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="subclassed")
        self.dense = SpectralNormalization(layers.Dense(3), name="inside")

    def call(self, inputs):
        return self.dense(inputs)


class Hiding(layers.Layer):
    """A custom layer that makes what it holds by itself."""

    def __init__(self, **kwargs):
        super().__init__(**{"name": "subclassed", **kwargs})
        self.dense = SpectralNormalization(layers.Dense(3), name="inside")

    def build(self, shape):
        self.dense.build(shape)

    def call(self, inputs):
        return self.dense(inputs)


class Unsaveable(Hiding):
    """One without a config."""

    def __init__(self, units):
        super().__init__()


@pytest.mark.parametrize(
    ("around", "remedy"),
    [
        (lambda: Subclassed(), ""),
        (
            lambda: keras.Sequential([Subclassed()]),
            r"SpectralNormalization\(Subclassed\(\.\.\.\)\).*'inside'",
        ),
        (
            lambda: keras.Sequential([Hiding()]),
            r"SpectralNormalization\(Hiding\(\.\.\.\)\).*'inside'",
        ),
        (
            lambda: keras.Sequential([Unsaveable(3)]),
            r"SpectralNormalization\(Unsaveable\(\.\.\.\)\).*'inside'",
        ),
    ],
    ids=["model", "model_in_sequential", "hiding", "unsaveable"],
)
def test_wrapper_out_of_reach_is_refused(around, remedy):
    model = around()
    model(SEQUENCES)
    match = rf"Functional .*{remedy}.*'subclassed'"
    with pytest.raises(ValueError, match=match):
        sngan_tf.fold(model)


class SNDense(SpectralNormalization):
    """A wrapper that Keras names sn_dense."""


def test_wrappers_of_ones_own_are_named_as_keras_names_them():
    layer = SNDense(layers.Dense(2, name="inside"))
    layer.build((None, 3))
    assert layer.name.startswith("sn_dense")
    assert sngan_tf.fold(layer).name == "inside"
