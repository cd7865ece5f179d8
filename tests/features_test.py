import logging
import pathlib

import numpy as np
import pytest

from sngan_tf import cache
from sngan_tf import data
from sngan_tf import features
from sngan_tf.errors import UserError

UPDATES = 20


def pictures(count=300, labelled=True):
    """Three classes of different brightness."""
    labels = np.arange(count, dtype=np.int32) % 3
    noise = np.random.default_rng(0).integers(0, 50, (count, 8, 8, 1))
    images = (100 * labels[:, None, None, None] + noise).astype(np.uint8)
    if not labelled:
        return data.Pictures(images, None, (), "synthetic")
    return data.Pictures(images, labels, ("a", "b", "c"), "synthetic")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Returns a classifier and the folder it is cached in."""
    cache = tmp_path_factory.mktemp("cache")
    return features.classifier(pictures(), UPDATES, cache), cache


@pytest.fixture
def untrainable(monkeypatch):
    """Makes training fail, so that only a cached classifier will do."""

    def fail(*args):
        raise AssertionError("The classifier was trained anew")

    monkeypatch.setattr(features, "_train", fail)


@pytest.fixture
def trainings(monkeypatch):
    """Replaces training by none; returns the list of its calls."""
    calls = []

    def build(pictures, rows, updates):
        calls.append((len(pictures), len(rows), updates))
        return features._network(pictures.images.shape[1:], 3)

    monkeypatch.setattr(features, "_train", build)
    return calls


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
    assert several.shape == (300, 64)
    assert logits.shape == (300, 3)
    one, _ = network(images[7:8])
    np.testing.assert_allclose(one[0], several[7], rtol=1e-4, atol=1e-5)


def test_cached_classifier_is_reused(trained, untrainable):
    network, cache = trained
    cached = features.classifier(pictures(), UPDATES, cache)
    assert cached.name == network.name
    assert cached.accuracy == network.accuracy


def test_name_is_that_of_the_weights(trained):
    network, _ = trained
    model = features._network((8, 8, 1), 3)
    model.set_weights(network.model.get_weights())
    assert features.Classifier(model, 0.0).name == network.name
    model.weights[0].assign_add(0 * model.weights[0] + 1e-3)
    assert features.Classifier(model, 0.0).name != network.name


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
    features.classifier(pictures(), UPDATES, tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    with caplog.at_level(logging.WARNING):
        remade = features.classifier(pictures(), UPDATES, tmp_path)
    assert f"{path} is damaged, made anew" in caplog.text
    assert len(trainings) == 2
    reused = features.classifier(pictures(), UPDATES, tmp_path)
    assert reused.name == remade.name
    assert len(trainings) == 2


@pytest.mark.parametrize(
    ("count", "updates"), [(300, UPDATES + 1), (299, UPDATES)]
)
def test_other_data_or_updates_make_another(
    tmp_path, trainings, count, updates
):
    features.classifier(pictures(), UPDATES, tmp_path)
    features.classifier(pictures(count), updates, tmp_path)
    assert len(list(tmp_path.iterdir())) == len(trainings) == 2


def test_other_labels_make_another(tmp_path, trainings):
    given = pictures()
    features.classifier(given, UPDATES, tmp_path)
    given.labels[:2] = given.labels[1::-1]
    features.classifier(given, UPDATES, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_fifth_is_held_out(tmp_path, trainings):
    features.classifier(pictures(), UPDATES, tmp_path)
    assert trainings == [(300, 240, UPDATES)]


def test_cache_is_where_the_environment_says(tmp_path, trainings, monkeypatch):
    monkeypatch.setenv("SNGAN_TF_CACHE", str(tmp_path / "there"))
    features.classifier(pictures(), UPDATES)
    assert len(list((tmp_path / "there").glob("classifier-*.keras"))) == 1


def test_default_cache_is_in_the_home(monkeypatch):
    monkeypatch.delenv("SNGAN_TF_CACHE", raising=False)
    home = pathlib.Path.home()
    assert cache.directory() == home / ".cache" / "sngan_tf"


def test_labels_are_required(tmp_path, untrainable):
    with pytest.raises(UserError, match="labels.*synthetic with 0 classes"):
        features.classifier(pictures(labelled=False), UPDATES, tmp_path)


def test_one_class_is_not_enough(tmp_path, untrainable):
    images, labels = pictures().images, np.zeros(300, np.int32)
    given = data.Pictures(images, labels, ("a",), "synthetic")
    with pytest.raises(UserError, match="synthetic with 1 classes"):
        features.classifier(given, UPDATES, tmp_path)
