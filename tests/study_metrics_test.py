"""The scores respond to damage as they should."""

import dataclasses
import importlib
import json
import os
import pathlib

import numpy as np
import pytest

from sngan_tf import data
from sngan_tf.metrics import features

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope="module")
def study():
    """Returns the example as a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "examples")
        return importlib.import_module("study_metrics")


@pytest.fixture(scope="module")
def digits():
    return data.load("digits", 16)


@pytest.fixture(scope="module")
def halves(study, digits):
    return [study.subset(digits, np.arange(i, len(digits), 4)) for i in (0, 1)]


@pytest.fixture(scope="module")
def records(study, digits, halves, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    network = features.load_classifier(digits, 200, cache)
    assert network.accuracy > 0.98
    with pytest.MonkeyPatch.context() as patch:
        for name, damage in study.DAMAGES.items():
            fewer = dataclasses.replace(damage, draws=min(damage.draws, 4))
            patch.setitem(study.DAMAGES, name, fewer)
        return study.study(network, *halves)


def test_order_is_right_on_digits(study, records):
    assert study.violations(records) == []


def test_every_level_is_recorded(study, records):
    for name, damage in study.DAMAGES.items():
        found = study.of(records, name, "recall")
        assert [record["level"] for record in found] == [*damage.levels]
    counts = {r["num_fake"] for r in records if r["damage"] == study.REAL}
    assert counts == {45, 90, 224, 449}


def test_wrong_order_is_told(study, records):
    for damage, metric in (
        ("noise", "score"),
        ("blur", "frechet_distance"),
        ("dropped classes", "recall"),
        ("repeated samples", "kernel_distance"),
        ("real against real", "frechet_distance"),
    ):
        for change in ("reversed", "constant"):
            wrong = [dict(record) for record in records]
            moved = study.of(wrong, damage, metric)
            values = [record["value"] for record in moved][::-1]
            for record, value in zip(moved, values):
                record["value"] = value if change == "reversed" else 1.0
            (line,) = study.violations(wrong)
            assert line.startswith(f"{metric} under {damage}: "), change


def test_damage_is_what_it_says(study, halves):
    real, _ = halves
    rng = np.random.default_rng(0)
    images, labels = real.images, real.labels
    for name in ("noise", "blur"):
        damage = study.DAMAGES[name]
        kept, _ = damage.apply(images, labels, 0, rng)
        np.testing.assert_array_equal(kept, images)
    noisy, _ = study.noise(
        np.full((50, 16, 16, 1), 128, np.uint8), labels, 8, rng
    )
    assert noisy.std() == pytest.approx(8, rel=0.05)
    blurred, _ = study.blur(images, labels, 2, rng)
    assert blurred.std() < 0.8 * images.std()
    left, labels_left = study.drop_classes(images, labels, 4, rng)
    assert set(labels_left) == {0, 1, 2, 3}
    assert len(np.unique(left, axis=0)) > 0.9 * len(left)
    repeated, _ = study.repeat(images, labels, 0.05, rng)
    assert len(np.unique(repeated, axis=0)) == round(0.05 * len(images))
    assert len(repeated) == len(images)


def test_committed_study_has_the_right_order(study):
    lines = (ROOT / "docs" / "metrics_study.jsonl").read_text().splitlines()
    committed = [json.loads(line) for line in lines]
    assert study.violations(committed) == []
    assert {r["reference"] for r in committed} == {"folder:cifar/test"}
    counts = {r["num_real"] for r in committed if r["damage"] == study.REAL}
    assert counts == {1_000, 2_000, 5_000, 10_000}


@pytest.mark.skipif(
    "SNGAN_TF_CIFAR10" not in os.environ,
    reason="SNGAN_TF_CIFAR10 names no folder of CIFAR-10 pictures, train|test/"
    "<class>/*.jpg; the study on these takes half an hour",
)
def test_order_is_right_on_cifar10(study):
    real, fake = (
        data.load(f"folder:{os.environ['SNGAN_TF_CIFAR10']}/{split}", 32)
        for split in ("test", "train")
    )
    network = features.load_classifier(fake, 9_375)
    right = network(real.images)[1].argmax(axis=1) == real.labels
    assert np.mean(right) > 0.8
    unseen, _ = features.split_rows(len(fake))
    records = study.study(network, real, study.subset(fake, unseen))
    assert study.violations(records) == []


def test_records_and_figure_are_written(
    study, records, digits, tmp_path, monkeypatch, capsys
):
    pytest.importorskip("matplotlib", reason="matplotlib draws the figure")
    seen = []
    network = type("Network", (), {"name": "classifier-0", "__call__": answer})
    monkeypatch.setattr(
        study.features, "load_classifier", lambda pictures, updates: network()
    )
    monkeypatch.setattr(
        study, "study", lambda network, *sets: seen.extend(sets) or records
    )
    figure = tmp_path / "figure"
    arguments = [figure, "--real", "digits", "--fake", "digits"]
    arguments += ["--updates", "7", "--image_size", "16"]
    monkeypatch.setattr("sys.argv", ["study_metrics.py", *map(str, arguments)])
    study.main()
    lines = figure.with_suffix(".jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == records
    assert figure.with_suffix(".png").stat().st_size > 10_000
    assert "Every metric moves as expected." in capsys.readouterr().out
    real, fake = seen
    assert (real.reference, len(real)) == ("digits", len(digits))
    unseen, _ = features.split_rows(len(digits))
    np.testing.assert_array_equal(fake.images, digits.images[unseen])


def answer(network, images):
    return None, np.eye(10)[np.zeros(len(images), int)]
