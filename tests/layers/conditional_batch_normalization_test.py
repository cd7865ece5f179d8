import gradients
import keras
import numpy as np
import pytest
from keras import layers

from sngan_tf.layers import ConditionalBatchNormalization

CLASSES = 4
CHANNELS = 3
LABELS = np.array([2, 0, 2, 3, 0])
EPSILON = 2e-5
# Keras refuses to synchronize on another backend.
SYNCHRONIZED = keras.backend.backend() == "tensorflow"

each_shape = pytest.mark.parametrize(
    "shape", [(5, CHANNELS), (5, 4, 2, CHANNELS)], ids=["2d", "4d"]
)


def inputs_of(shape, seed=0):
    """Of a different mean and deviation in each channel."""
    x = np.random.default_rng(seed).normal(size=shape)
    return (x * [0.5, 1.0, 3.0] + [1.0, -2.0, 0.0]).astype("float32")


def moved(shape, **kwargs):
    """A layer whose every class has a gamma and beta of its own."""
    layer = ConditionalBatchNormalization(CLASSES, **kwargs)
    layer.build(shape, (len(LABELS),))
    rng = np.random.default_rng(1)
    for table in (layer.gamma, layer.beta):
        table.assign(rng.normal(size=table.shape))
    return layer


def statistics(x):
    axes = tuple(range(x.ndim - 1))
    return x.mean(axes, dtype="float64"), x.var(axes, dtype="float64")


def running(layer):
    inner = layer.normalization
    return [np.array(inner.moving_mean), np.array(inner.moving_variance)]


def expected(layer, x, mean, variance):
    normalized = (x - mean) / np.sqrt(variance + EPSILON)
    result = []
    for picture, label in zip(normalized, LABELS):
        gamma, beta = np.array(layer.gamma)[label], np.array(layer.beta)[label]
        result.append(picture * gamma + beta)
    return np.stack(result)


@each_shape
def test_training_call_matches_numpy(shape):
    layer, x = moved(shape), inputs_of(shape)
    np.testing.assert_allclose(
        layer(x, LABELS, training=True),
        expected(layer, x, *statistics(x)),
        rtol=1e-4,
        atol=1e-5,
    )


def test_epsilon_is_added_to_the_variance():
    shape = (5, CHANNELS)
    layer, x = moved(shape), inputs_of(shape) * 0.005
    outputs = layer(x, LABELS, training=True)
    mean, variance = statistics(x)
    assert variance.min() < EPSILON
    np.testing.assert_allclose(
        outputs, expected(layer, x, mean, variance), rtol=1e-4, atol=1e-5
    )


@each_shape
def test_running_statistics_decay_by_nine_tenths(shape):
    layer = moved(shape)
    mean, variance = np.zeros(CHANNELS), np.ones(CHANNELS)
    for seed in range(3):
        x = inputs_of(shape, seed)
        layer(x, LABELS, training=True)
        batch_mean, batch_variance = statistics(x)
        mean = 0.9 * mean + 0.1 * batch_mean
        variance = 0.9 * variance + 0.1 * batch_variance
    np.testing.assert_allclose(running(layer)[0], mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(running(layer)[1], variance, rtol=1e-4)


@each_shape
def test_inference_uses_and_keeps_the_running_statistics(shape):
    layer, x = moved(shape), inputs_of(shape)
    layer.normalization.moving_mean.assign([1.0, 2.0, 3.0])
    layer.normalization.moving_variance.assign([0.5, 1.0, 4.0])
    before = layer.get_weights()
    np.testing.assert_allclose(
        layer(x, LABELS, training=False),
        expected(layer, x, np.array([1, 2, 3]), np.array([0.5, 1, 4])),
        rtol=1e-5,
        atol=1e-5,
    )
    for one, other in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_starts_as_plain_batch_normalization():
    x = inputs_of((5, 4, 2, CHANNELS))
    layer = ConditionalBatchNormalization(CLASSES)
    plain = layers.BatchNormalization(
        momentum=0.9, epsilon=EPSILON, center=False, scale=False
    )
    for training in (True, False):
        np.testing.assert_array_equal(
            layer(x, LABELS, training=training), plain(x, training=training)
        )
    np.testing.assert_array_equal(layer.gamma, np.ones((CLASSES, CHANNELS)))
    np.testing.assert_array_equal(layer.beta, np.zeros((CLASSES, CHANNELS)))
    assert len(layer.trainable_variables) == 2


@each_shape
def test_gradient_reaches_the_rows_looked_up_alone(shape):
    layer, x = moved(shape), inputs_of(shape)
    _, (gamma, beta) = gradients.of(
        lambda: keras.ops.sum(layer(x, LABELS, training=True)),
        [layer.gamma, layer.beta],
    )
    mean, variance = statistics(x)
    normalized = (x - mean) / np.sqrt(variance + EPSILON)
    positions = np.prod(shape[1:-1])
    for label in range(CLASSES):
        chosen = normalized[label == LABELS].reshape(-1, CHANNELS)
        np.testing.assert_allclose(gamma[label], chosen.sum(0), atol=1e-4)
        np.testing.assert_array_equal(
            beta[label], np.full(CHANNELS, positions * sum(label == LABELS))
        )


def test_model_survives_a_file(tmp_path):
    shape = (5, 4, 2, CHANNELS)
    x = inputs_of(shape)
    layer = moved(shape, momentum=0.8, epsilon=0.1)
    images, labels = keras.Input(shape[1:]), keras.Input((), dtype="int32")
    model = keras.Model([images, labels], layer(images, labels))
    model([x, LABELS], training=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for training in (False, True, False):
        np.testing.assert_array_equal(
            loaded([x, LABELS], training=training),
            model([x, LABELS], training=training),
        )


def test_config_survives():
    arguments = {
        "num_classes": 7,
        "momentum": 0.5,
        "epsilon": 1e-3,
        "synchronized": SYNCHRONIZED,
        "dtype": "float64",
    }
    layer = ConditionalBatchNormalization(**arguments)
    copy = ConditionalBatchNormalization.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    inner = copy.normalization.get_config()
    for name in ("momentum", "epsilon", "synchronized", "dtype"):
        assert inner[name] == layer.normalization.get_config()[name]
    assert inner["synchronized"] == SYNCHRONIZED
    assert inner["momentum"] == 0.5
    assert inner["epsilon"] == 1e-3


def test_mixed_bfloat16_keeps_variables_float32():
    shape = (5, 4, 2, CHANNELS)
    layer, full = moved(shape, dtype="mixed_bfloat16"), moved(shape)
    x = inputs_of(shape)
    outputs = layer(x, LABELS, training=True)
    assert keras.backend.standardize_dtype(outputs.dtype) == "bfloat16"
    assert {variable.dtype for variable in layer.variables} == {"float32"}
    # bfloat16 has 8 bits.
    np.testing.assert_allclose(
        np.array(outputs, "float32"),
        full(x, LABELS, training=True),
        rtol=0.05,
        atol=0.05,
    )


@pytest.mark.parametrize("num_classes", [0, -1])
def test_no_classes_are_refused(num_classes):
    with pytest.raises(ValueError, match=f"num_classes={num_classes}"):
        ConditionalBatchNormalization(num_classes)
