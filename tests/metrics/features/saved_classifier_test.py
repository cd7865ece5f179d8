import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

from sngan_tf import data
from sngan_tf.errors import UserError
from sngan_tf.metrics import features
from sngan_tf.metrics.features import classifier
from sngan_tf.metrics.features import saved

CIFAR10 = saved.SHIPPED["cifar10"]
# Its weights; scores by others would not compare.
CIFAR10_NAME = "classifier-39f0fcbd8a14"
SHAPE = (8, 8, 3)
# What a script without sngan_tf and without TensorFlow scores by.
ON_JAX = """
import sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "sngan_tf"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NotInstalled())
import keras
import numpy as np
assert keras.backend.backend() == "jax"
for number, path in enumerate(sys.argv[1:]):
    model = keras.models.load_model(path)
    outputs = model(np.load(f"images_{number}.npy"), training=False)
    np.savez(f"outputs_{number}.npz", *map(np.asarray, outputs))
"""


def pictures(count=40, shape=SHAPE, classes=3):
    images = np.random.default_rng(0).integers(0, 256, (count, *shape))
    labels = np.arange(count, dtype=np.int32) % max(1, classes)
    names = tuple("abcdefghij"[:classes])
    return data.Pictures(
        images.astype(np.uint8), labels if classes else None, names, "synthetic"
    )


def image_input(shape=SHAPE, dtype="uint8"):
    return keras.Input(shape, dtype=dtype)


def model_of(outputs, dtype="uint8"):
    """Returns a model of pictures to a mean of each channel, so many times."""
    inputs = image_input(dtype=dtype)
    x = layers.Rescaling(1 / 255)(inputs)
    found = [layers.GlobalAveragePooling2D()(x) for _ in range(outputs)]
    return keras.Model(inputs, found)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Returns the path of a classifier of random weights, and the model."""
    path = tmp_path_factory.mktemp("kept") / "own.keras"
    model = classifier._network(SHAPE, 3)
    for weight in model.weights:
        noise = np.random.default_rng(0).uniform(0.1, 0.2, weight.shape)
        weight.assign(noise)
    model.save(path)
    return str(path), model


def test_saved_classifier_is_the_one_that_was_saved(kept):
    path, model = kept
    network = features.saved_classifier(path, pictures())
    expected = classifier.frozen(model)
    assert network.name == expected.name
    assert network.name.startswith("classifier-")
    assert (network.kind, network.resize) == ("classifier", "none")
    for found, value in zip(
        network(pictures().images), expected(pictures().images)
    ):
        np.testing.assert_array_equal(found, value)


def test_accuracy_is_of_the_fifth_that_is_held_out(kept):
    given = pictures()
    network = features.saved_classifier(kept[0], given)
    assert network.accuracy is None
    rows = features.split_rows(40)[0]
    assert len(rows) == 8
    answers = kept[1](given.images[rows], training=False)[1]
    expected = np.mean(np.argmax(answers, axis=1) == given.labels[rows])
    assert 0 < expected < 1
    assert features.accuracy(network, given) == expected


def test_accuracy_needs_labels(kept):
    given = pictures(classes=0)
    network = features.saved_classifier(kept[0], given)
    match = f"^`pictures` must have labels. Received: {given.reference} without"
    with pytest.raises(ValueError, match=match):
        features.accuracy(network, given)


@pytest.mark.parametrize("classes", [0, 1])
def test_pictures_without_classes_will_do(kept, classes):
    given = pictures(classes=classes)
    assert features.saved_classifier(kept[0], given).name.startswith("class")


def test_resize_is_what_the_model_does():
    inputs = image_input((40, 40, 3))
    x = layers.Resizing(16, 16, interpolation="nearest")(inputs)
    features_of_it = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, [features_of_it, features_of_it])
    assert classifier.frozen(model).resize == "nearest to 16"


def refused(location, given):
    with pytest.raises(UserError) as caught:
        features.saved_classifier(str(location), given)
    message = str(caught.value)
    assert message.startswith("`evaluation.classifier` ")
    assert f"Received: evaluation.classifier={location}" in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", ["cifar", "there.keras", "own.h5"])
def test_missing_file_is_named(tmp_path, name):
    (tmp_path / "own.h5").touch()
    location = name if name == "cifar" else tmp_path / name
    rule = "must be cifar10 or the path of a .keras file"
    assert rule in refused(location, pictures())


def test_what_is_no_model_is_refused(tmp_path):
    path = tmp_path / "damaged.keras"
    path.write_bytes(b"no archive")
    assert "can't be loaded (" in refused(path, pictures())


def test_code_in_a_file_is_not_run(tmp_path):
    """A function of a `Lambda` could do anything."""
    inputs = image_input()
    x = layers.Lambda(lambda x: x + 1, output_shape=SHAPE)(inputs)
    x = layers.GlobalAveragePooling2D()(x)
    path = tmp_path / "lambda.keras"
    keras.Model(inputs, [x, x]).save(path)
    assert "can't be loaded (" in refused(path, pictures())


@pytest.mark.parametrize(
    ("outputs", "dtype"), [(1, "uint8"), (3, "uint8"), (2, "float32")]
)
def test_model_of_another_kind_is_refused(tmp_path, outputs, dtype):
    path = tmp_path / "other.keras"
    model_of(outputs, dtype).save(path)
    rule = (
        "a model of uint8 (batch, size, size, channels) to [features, logits]"
    )
    assert rule in refused(path, pictures())


def test_model_of_this_kind_is_not(tmp_path):
    path = tmp_path / "other.keras"
    model_of(2).save(path)
    given = pictures()
    network = features.saved_classifier(str(path), given)
    means = given.images.mean(axis=(1, 2)) / 255
    for found in network(given.images):
        np.testing.assert_allclose(found, means, rtol=1e-5)


def test_pictures_of_another_size_are_refused(kept):
    message = refused(kept[0], pictures(shape=(8, 8, 1)))
    assert "of pictures of 8 x 8 x 1, as the data." in message
    assert message.endswith("own.keras, of 8 x 8 x 3")


def test_other_classes_are_refused(kept):
    message = refused(kept[0], pictures(classes=2))
    assert "must be of 2 classes, as synthetic." in message
    assert message.endswith("own.keras, of 3")


@pytest.mark.slow
def test_saved_classifiers_answer_alike_on_jax(kept, tmp_path):
    """One that was just saved, and that of CIFAR-10."""
    pytest.importorskip("jax", reason="JAX is an extra")
    known = [kept, (CIFAR10, keras.models.load_model(CIFAR10))]
    shown = [pictures(shape=model.input_shape[1:]).images for _, model in known]
    for number, images in enumerate(shown):
        np.save(tmp_path / f"images_{number}.npy", images)
    subprocess.run(
        [sys.executable, "-c", ON_JAX, *(str(path) for path, _ in known)],
        cwd=tmp_path,
        env={**os.environ, "KERAS_BACKEND": "jax"},
        check=True,
    )
    for number, (_, model) in enumerate(known):
        expected = model(shown[number], training=False)
        with np.load(tmp_path / f"outputs_{number}.npz") as found:
            for name, value in zip(found, expected, strict=True):
                np.testing.assert_allclose(
                    found[name], value, rtol=1e-3, atol=1e-4
                )


# That of CIFAR-10.


def cifar10():
    return pictures(shape=(32, 32, 3), classes=10)


def test_the_one_of_cifar10_comes_along():
    assert CIFAR10.stat().st_size < 1.5e6
    network = features.saved_classifier("cifar10", cifar10())
    several, logits = network(cifar10().images)
    assert several.shape == (40, 192)
    assert logits.shape == (40, 10)
    assert network.name == CIFAR10_NAME
