import json

import keras
import numpy as np
import pytest
from keras import layers

import sngan_tf
from sngan_tf import SpectralNormalization

IMAGES = np.random.default_rng(0).normal(size=(2, 6, 6, 3)).astype("float32")
SEQUENCES = np.random.default_rng(0).normal(size=(2, 5, 6)).astype("float32")


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
    """Input layers aside, which Keras renames in every clone."""
    return [layer.name for layer in model.layers if layer.weights]


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


@pytest.mark.parametrize("arguments", [{"bound": 3.0}, {"learn_scale": True}])
@pytest.mark.parametrize(
    ("layer", "inputs"),
    [
        (layers.Dense(4), [SEQUENCES]),
        (layers.Conv2DTranspose(4, 3), [IMAGES]),
        (layers.SeparableConv2D(4, 3), [IMAGES]),
        (layers.Embedding(7, 3), [np.array([[1, 2, 6]])]),
        (layers.Bidirectional(layers.LSTM(3)), [SEQUENCES]),
        (layers.MultiHeadAttention(2, 3), [SEQUENCES, SEQUENCES[:, :2]]),
        (keras.Sequential([layers.Dense(4), layers.Dense(3)]), [SEQUENCES]),
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
    assert folded.name == wrapper.name
    assert len(folded.weights) == len(layer.weights)
    np.testing.assert_allclose(
        folded(*inputs), wrapper(*inputs), rtol=1e-5, atol=1e-6
    )


def test_folded_model_survives_a_file(tmp_path):
    folded = sngan_tf.fold(functional_with_shared_layers())
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


@pytest.mark.parametrize(
    "around",
    [
        lambda: Subclassed(),
        lambda: keras.Sequential([Subclassed()]),
        lambda: keras.Sequential(
            [
                layers.TimeDistributed(
                    SpectralNormalization(layers.Dense(3), name="inside"),
                    name="subclassed",
                )
            ]
        ),
    ],
    ids=["model", "model_in_sequential", "layer_in_sequential"],
)
def test_wrapper_out_of_reach_is_refused(around):
    model = around()
    model(SEQUENCES)
    with pytest.raises(ValueError, match=r"Functional .*'subclassed'"):
        sngan_tf.fold(model)
