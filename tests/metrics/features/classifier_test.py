import concurrent.futures
import dataclasses
import logging
import pathlib
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from sngan_tf import data
from sngan_tf import files
from sngan_tf.errors import UserError
from sngan_tf.metrics import features
from sngan_tf.metrics.features import classifier

UPDATES = 60


def pictures(count=300, labelled=True, side=8, channels=1):
    """Three classes of different brightness."""
    labels = np.arange(count, dtype=np.int32) % 3
    shape = count, side, side, channels
    noise = np.random.default_rng(0).integers(0, 50, shape)
    images = (100 * labels[:, None, None, None] + noise).astype(np.uint8)
    if not labelled:
        return data.Pictures(images, None, (), "synthetic")
    return data.Pictures(images, labels, ("a", "b", "c"), "synthetic")


def layers_of(network, kind):
    return [layer for layer in network.layers if isinstance(layer, kind)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Returns a classifier and the folder it is cached in."""
    cache = tmp_path_factory.mktemp("cache")
    return features.load_classifier(pictures(), UPDATES, cache), cache


@pytest.fixture
def untrainable(monkeypatch):
    """Makes training fail, so that only a cached classifier will do."""

    def fail(*args):
        raise AssertionError("The classifier was trained anew")

    monkeypatch.setattr(classifier, "_train", fail)


@pytest.fixture
def trainings(monkeypatch):
    """Replaces training by none; returns the arguments of its calls."""
    calls = []

    def build(pictures, rows, updates):
        calls.append((pictures, rows, updates))
        return classifier._network(pictures.images.shape[1:], 3)

    monkeypatch.setattr(classifier, "_train", build)
    return calls


@pytest.fixture
def fits(monkeypatch):
    """Replaces `keras.Model.fit`; returns the arguments of its calls."""
    calls = []

    def fit(model, rows, labels, **options):
        calls.append((rows, labels, options))

    monkeypatch.setattr(keras.Model, "fit", fit)
    return calls


@pytest.mark.slow
def test_classifier_tells_separable_classes_apart(trained):
    network, _ = trained
    assert network.accuracy > 0.95
    given = pictures()
    _, logits = network(given.images)
    assert np.mean(logits.argmax(axis=1) == given.labels) > 0.95


def test_features_and_logits_of_every_picture(trained):
    network, _ = trained
    images = pictures().images
    several, logits = network(images)
    assert several.shape == (300, 192)
    assert logits.shape == (300, 3)
    one, _ = network(images[7:8])
    np.testing.assert_allclose(one[0], several[7], rtol=1e-4, atol=1e-5)


def test_features_and_logits_are_those_of_the_model_at_rest(trained):
    """Neither shifted nor mirrored, nor normalised by the batch."""
    network, cache = trained
    (path,) = cache.iterdir()
    images = pictures(20).images
    expected = keras.models.load_model(path).predict(images, verbose=0)
    for found, value in zip(network(images), expected):
        np.testing.assert_allclose(found, value, rtol=1e-4, atol=1e-5)


def test_logits_are_a_linear_map_of_the_features(trained):
    network, cache = trained
    (path,) = cache.iterdir()
    kernel, bias = (
        keras.models.load_model(path).get_layer("logits").get_weights()
    )
    found, logits = network(pictures(20).images)
    np.testing.assert_allclose(found @ kernel + bias, logits, rtol=1e-4)


def test_classifier_is_a_network_for_scores(trained):
    network, _ = trained
    assert network.kind == "classifier"
    assert network.name.startswith("classifier-")
    assert network.resize == "none"


def test_accuracy_is_of_the_pictures_held_out(tmp_path, trainings):
    given = pictures()
    network = features.load_classifier(given, UPDATES, tmp_path)
    ((_, rows, _),) = trainings
    held_out = np.setdiff1d(np.arange(300), rows)
    assert len(held_out) == 60
    _, logits = network(given.images[held_out])
    right = logits.argmax(axis=1) == given.labels[held_out]
    assert network.accuracy == np.mean(right)


class Read:
    """Pictures that are there only as long as they are looked at.

    Args:
        images: What they are.

    Attributes:
        largest: Most that were read at a time.
        count: How many were read in all.
    """

    dtype = np.dtype("uint8")

    def __init__(self, images):
        self._images = images
        self.shape = images.shape
        self.largest = self.count = 0

    def __len__(self):
        return len(self._images)

    def __getitem__(self, rows):
        found = self._images[rows]
        self.largest = max(self.largest, len(found))
        self.count += len(found)
        return found


def test_known_classifier_reads_held_out_pictures_alone(
    tmp_path, trainings, monkeypatch
):
    given = pictures(3000, side=4)
    read = Read(given.images)
    streamed = dataclasses.replace(given, images=read, digest="0123")
    features.load_classifier(streamed, UPDATES, tmp_path)
    for most, count in ((10_000, 600), (550, 550)):
        monkeypatch.setattr(classifier, "_MOST_MEASURED", most)
        read.count = 0
        network = features.load_classifier(streamed, UPDATES, tmp_path)
        assert (read.count, read.largest) == (count, 500)
        rows = features.split_rows(3000)[0][:count]
        _, logits = network(given.images[rows])
        right = logits.argmax(axis=1) == given.labels[rows]
        assert network.accuracy == np.mean(right)
    assert len(trainings) == 1


def test_picture_that_cannot_be_read_ends_training_with_its_name(monkeypatch):
    class Bad(Read):
        error = None

        def __getitem__(self, rows):
            self.error = UserError("a.png can't be read as a picture")
            raise self.error

    def fit(model, rows, *args, **options):
        tf.function(model)(tf.constant(rows))

    monkeypatch.setattr(keras.Model, "fit", fit)
    given = dataclasses.replace(pictures(20), images=Bad(pictures(20).images))
    with pytest.raises(UserError, match="^a.png can't be read as a picture$"):
        classifier._train(given, np.arange(16), 1)


def test_two_that_start_together_train_one(tmp_path, trainings):
    barrier = threading.Barrier(2)

    def started(_):
        barrier.wait()
        return features.load_classifier(pictures(), UPDATES, tmp_path).name

    with concurrent.futures.ThreadPoolExecutor() as threads:
        one, other = threads.map(started, range(2))
    assert one == other
    assert len(trainings) == len(list(tmp_path.iterdir())) == 1


def test_cached_classifier_is_reused(trained, untrainable):
    network, cache = trained
    cached = features.load_classifier(pictures(), UPDATES, cache)
    assert cached.name == network.name
    assert cached.accuracy == network.accuracy


def test_nothing_but_the_classifier_is_left_in_the_cache(trained):
    _, cache = trained
    (path,) = cache.iterdir()
    assert path.match("classifier-*.keras")


def test_name_is_that_of_the_weights(trained):
    network, cache = trained
    (path,) = cache.iterdir()
    model = keras.models.load_model(path)
    assert classifier.frozen(model).name == network.name
    model.weights[0].assign_add(0 * model.weights[0] + 1e-3)
    assert classifier.frozen(model).name != network.name


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: content[:9999] + bytes(99) + content[10098:],
    ],
    ids=["empty", "truncated", "overwritten"],
)
def test_damaged_cache_is_made_anew(tmp_path, trainings, caplog, damage):
    features.load_classifier(pictures(), UPDATES, tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    with caplog.at_level(logging.WARNING):
        remade = features.load_classifier(pictures(), UPDATES, tmp_path)
    assert f"{path} is damaged, made anew" in caplog.text
    assert len(trainings) == 2
    reused = features.load_classifier(pictures(), UPDATES, tmp_path)
    assert reused.name == remade.name
    assert len(trainings) == 2


@pytest.mark.parametrize(
    ("count", "updates"), [(300, UPDATES + 1), (299, UPDATES)]
)
def test_other_data_or_updates_make_another(
    tmp_path, trainings, count, updates
):
    features.load_classifier(pictures(), UPDATES, tmp_path)
    features.load_classifier(pictures(count), updates, tmp_path)
    assert len(list(tmp_path.iterdir())) == len(trainings) == 2


@pytest.mark.parametrize("part", ["images", "labels"])
def test_other_pixels_or_labels_make_another(tmp_path, trainings, part):
    given = pictures()
    features.load_classifier(given, UPDATES, tmp_path)
    getattr(given, part)[:2] = getattr(given, part)[1::-1].copy()
    features.load_classifier(given, UPDATES, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_another_version_makes_another(tmp_path, trainings, monkeypatch):
    features.load_classifier(pictures(), UPDATES, tmp_path)
    monkeypatch.setattr(classifier, "_VERSION", classifier._VERSION + 1)
    features.load_classifier(pictures(), UPDATES, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_pictures_may_be_a_view_in_another_order(tmp_path, trainings):
    given = pictures(channels=3)
    channels_first = np.ascontiguousarray(given.images.transpose(0, 3, 1, 2))
    view = data.Pictures(
        channels_first.transpose(0, 2, 3, 1),
        given.labels,
        given.class_names,
        given.reference,
    )
    network = features.load_classifier(given, UPDATES, tmp_path)
    same = features.load_classifier(view, UPDATES, tmp_path)
    assert same.name == network.name
    assert len(trainings) == 1


def test_a_fifth_is_held_out(tmp_path, trainings):
    features.load_classifier(pictures(), UPDATES, tmp_path)
    ((given, rows, updates),) = trainings
    assert (len(given), len(np.unique(rows)), updates) == (300, 240, UPDATES)
    # Mixed, though the pictures may be sorted by class.
    assert list(rows) != sorted(rows)


def test_rows_held_out_are_fixed(tmp_path, trainings):
    for folder in ("a", "b"):
        features.load_classifier(pictures(), UPDATES, tmp_path / folder)
    (_, rows, _), (_, again, _) = trainings
    np.testing.assert_array_equal(rows, again)


@pytest.mark.parametrize(
    ("updates", "epochs"), [(1, 1), (4, 1), (5, 2), (8, 2), (9, 3)]
)
def test_updates_are_rounded_up_to_whole_epochs(fits, updates, epochs):
    """240 pictures are 3 batches of 64 and one of 48."""
    classifier._train(pictures(), np.arange(240), updates)
    ((_, _, options),) = fits
    assert options["epochs"] == epochs
    assert options["batch_size"] == 64


def test_training_sees_the_rows_it_is_given_alone(fits):
    given = pictures(100)
    rows = np.random.permutation(100)[:70]
    classifier._train(given, rows, 1)
    ((found, labels, _),) = fits
    np.testing.assert_array_equal(found, rows)
    np.testing.assert_array_equal(labels, given.labels[rows])


def test_one_update_is_enough(fits):
    classifier._train(pictures(), np.arange(60), 1)
    ((_, _, options),) = fits
    assert options["epochs"] == 1


@pytest.mark.slow
def test_streamed_pictures_train_the_same_classifier(tmp_path, capsys):
    """80 pictures of 100 are two batches, with a bar of two whole epochs."""
    memory = pictures(100)
    names = [features.load_classifier(memory, 3, tmp_path).name]
    shown = capsys.readouterr().err
    assert "classifier, whole epochs: 100%" in shown
    assert "4/4" in shown
    assert "updates" in shown
    assert "accuracy=" in shown
    names.append(features.load_classifier(memory, 3, tmp_path).name)
    assert capsys.readouterr().err == ""
    read = Read(memory.images)
    streamed = dataclasses.replace(memory, images=read, digest="0123")
    names.append(features.load_classifier(streamed, 3, tmp_path).name)
    assert len({*names}) == 1
    assert (read.count, read.largest) == (2 * 80 + 20, 64)


@pytest.mark.parametrize(("channels", "flips"), [(1, 0), (3, 1)])
def test_colour_pictures_alone_are_mirrored(channels, flips):
    network = classifier._network((8, 8, channels), 3)
    found = layers_of(network, layers.RandomFlip)
    assert [layer.mode for layer in found] == ["horizontal"] * flips
    assert len(layers_of(network, layers.RandomTranslation)) == 1


@pytest.mark.parametrize(
    ("side", "resize"),
    [(8, "none"), (32, "none"), (33, "bilinear to 32"), (64, "bilinear to 32")],
)
def test_pictures_above_32_pixels_are_made_smaller(side, resize):
    network = classifier._network((side, side, 3), 3)
    shapes = [
        layer.output.shape for layer in layers_of(network, layers.Resizing)
    ]
    assert shapes == [(None, 32, 32, 3)] * (side > 32)
    frozen = classifier.frozen(network)
    assert frozen.resize == resize
    several, _ = frozen(pictures(2, side=side, channels=3).images)
    assert several.shape == (2, 192)


def test_cache_is_where_the_environment_says(tmp_path, trainings, monkeypatch):
    monkeypatch.setenv("SNGAN_TF_CACHE", str(tmp_path / "there"))
    features.load_classifier(pictures(), UPDATES)
    assert len(list((tmp_path / "there").glob("classifier-*.keras"))) == 1


def test_default_cache_is_in_the_home(monkeypatch):
    monkeypatch.delenv("SNGAN_TF_CACHE", raising=False)
    home = pathlib.Path.home()
    assert files.cache_directory() == home / ".cache" / "sngan_tf"


def test_labels_are_required(tmp_path, untrainable):
    with pytest.raises(UserError, match="labels.*synthetic with 0 classes"):
        features.load_classifier(pictures(labelled=False), UPDATES, tmp_path)


def test_one_class_is_not_enough(tmp_path, untrainable):
    images, labels = pictures().images, np.zeros(300, np.int32)
    given = data.Pictures(images, labels, ("a",), "synthetic")
    with pytest.raises(UserError, match="synthetic with 1 classes"):
        features.load_classifier(given, UPDATES, tmp_path)
