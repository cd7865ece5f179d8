import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from sngan_tf import data
from sngan_tf import metrics
from sngan_tf.errors import UserError
from sngan_tf.metrics import protocols
from sngan_tf.metrics import scorer as scorer_lib
from sngan_tf.metrics.features import FeatureNetwork

ROOT = pathlib.Path(__file__).parents[2]
CLASSES = 3
KEYS = {
    "step",
    "metric",
    "value",
    "std",
    "protocol",
    "num_real",
    "num_fake",
    "reference",
    "features",
    "resize",
}
# What a metric is called by each kind of network.
NAMES = {
    "inception": {
        "score": "inception_score",
        "frechet_distance": "frechet_inception_distance",
        "kernel_distance": "kernel_inception_distance",
        "precision": "inception_precision",
        "recall": "inception_recall",
        "intra_class_frechet_distance": (
            "intra_class_frechet_inception_distance"
        ),
    },
    "classifier": {
        "score": "classifier_score",
        "frechet_distance": "frechet_classifier_distance",
        "kernel_distance": "kernel_classifier_distance",
        "precision": "classifier_precision",
        "recall": "classifier_recall",
        "intra_class_frechet_distance": (
            "intra_class_frechet_classifier_distance"
        ),
    },
}


def pictures(count, seed, labelled=True, name="synthetic/train"):
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (count, 4, 4, 1)).astype(np.uint8)
    labels = random.permutation(np.arange(count, dtype=np.int32) % CLASSES)
    if not labelled:
        return data.Pictures(images, None, (), name)
    return data.Pictures(images, labels, ("a", "b", "c"), name)


def protocol(**changes):
    """A small one: 30 of 20 scored pictures' features in 4 splits."""
    counts = {
        "name": "small",
        "held_out": False,
        "num_real": 40,
        "num_fake": 30,
        "num_scored": 20,
        "splits": 4,
    }
    return protocols.Protocol(**{**counts, **changes})


def projections():
    random = np.random.default_rng(7)
    return (
        random.normal(size=(16, 5)).astype(np.float32),
        random.normal(size=(16, CLASSES)).astype(np.float32),
    )


def network(kind="classifier", digest="0123456789abcdef", resize="none"):
    features, logits = projections()

    def outputs(images):
        flat = tf.reshape(tf.cast(images, tf.float32) / 255, (-1, 16))
        return flat @ features, 9 * (flat - 0.42) @ logits

    return FeatureNetwork(kind, digest, outputs, resize, batch_size=7)


def outputs_of(images):
    """Returns what `network` does, in NumPy."""
    flat = np.asarray(images, np.float32).reshape(-1, 16) / 255
    features, logits = projections()
    return flat @ features, 9 * (flat - 0.42) @ logits


class Sampler:
    """The seed's pictures, darker than the real ones, in uneven batches."""

    def __init__(self, num_classes=None, shift=40):
        self.num_classes = num_classes
        self.shift = shift

    def images(self, seed, count):
        images = np.random.default_rng(seed).integers(
            0, 256 - self.shift, (1000, 4, 4, 1)
        )
        return images[:count].astype(np.uint8)

    def batches(self, seed, count):
        images = self.images(seed, count)
        for i in range(0, count, 11):
            yield tf.constant(images[i : i + 11])

    def labels(self, count):
        if self.num_classes:
            return np.arange(count, dtype=np.int32) % self.num_classes
        return None


def fixed_order(count):
    return np.random.default_rng(0).permutation(count)


def by_name(rows):
    assert len({row["metric"] for row in rows}) == len(rows)
    return {row["metric"]: row for row in rows}


def expected(real, fake, scored, splits):
    """Returns `{metric: (value, std, num_real, num_fake)}` of pictures."""
    counts = len(real), len(fake)
    pair = outputs_of(real)[0], outputs_of(fake)[0]
    score, std = metrics.inception_score(outputs_of(scored)[1], splits)
    kernel, error = metrics.kernel_distance(*pair)
    precision, recall = metrics.precision_recall(*pair)
    return {
        "score": (score, std if splits > 1 else None, 0, len(scored)),
        "frechet_distance": (metrics.frechet_distance(*pair), None, *counts),
        "kernel_distance": (
            kernel,
            None if np.isnan(error) else error,
            *counts,
        ),
        "precision": (precision, None, *counts),
        "recall": (recall, None, *counts),
    }


def assert_measures(rows, values, kind="classifier", prefix=""):
    found = by_name(rows)
    for metric, (value, std, num_real, num_fake) in values.items():
        row = found[prefix + NAMES[kind][metric]]
        np.testing.assert_allclose(row["value"], value, rtol=1e-4, atol=1e-7)
        if std is None:
            assert row["std"] is None
        else:
            np.testing.assert_allclose(row["std"], std, rtol=1e-3, atol=1e-7)
        counts = row["num_real"], row["num_fake"]
        assert (metric, *counts) == (metric, num_real, num_fake)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("SNGAN_TF_CACHE", str(tmp_path / "cache"))


# Generated pictures.


@pytest.mark.parametrize("kind", ["inception", "classifier"])
@pytest.mark.parametrize(
    "counts",
    [
        {},
        {"num_fake": 20, "num_scored": 32},
        {"splits": 1},
        {"num_real": 60, "num_fake": 12, "num_scored": 12, "splits": 3},
    ],
)
def test_records_are_the_metrics_of_the_right_pictures(kind, counts):
    train = pictures(60, seed=1)
    small = protocol(**counts)
    scorer = scorer_lib.Scorer(network(kind), small, train, seed=5)
    rows = scorer.generated(Sampler(), 70)
    real = train.images[fixed_order(60)[: small.num_real]]
    fake = Sampler().images(5, 60)
    values = expected(
        real, fake[: small.num_fake], fake[: small.num_scored], small.splits
    )
    assert_measures(rows, values, kind)
    names = {NAMES[kind][metric] for metric in values}
    if kind == "classifier":
        names.add("smallest_class_share")
    assert by_name(rows).keys() == names
    # The test would not tell a score's parts apart from distances' else.
    assert by_name(rows)[NAMES[kind]["frechet_distance"]]["value"] > 0.01


def test_records_have_their_keys_and_what_they_were_measured_on():
    train = pictures(60, seed=1, name="set/a")
    net = network("inception", "f" * 20, "bilinear to 9")
    rows = scorer_lib.Scorer(net, protocol(), train).generated(Sampler(), 70)
    for row in rows:
        assert row.keys() == KEYS
        assert row["step"] == 70
        assert row["protocol"] == "small"
        assert row["reference"] == "set/a"
        assert row["features"] == "inception-" + "f" * 12
        assert row["resize"] == "bilinear to 9"


@pytest.mark.parametrize("kind", ["inception", "classifier"])
def test_pictures_that_are_kept_are_scored_as_generated_ones_are(kind):
    """Those of a fixed choice, in its order."""
    real = pictures(40, 1, labelled=False)
    fake = pictures(55, 2, labelled=False, name="folder:fake")
    scorer = scorer_lib.Scorer(network(kind), protocol(), real)
    rows = scorer.kept(fake)
    chosen = fake.images[fixed_order(55)[:30]]
    values = expected(real.images[fixed_order(40)], chosen, chosen[:20], 4)
    if kind == "classifier":
        assert rows.pop()["metric"] == "smallest_class_share"
    assert_measures(rows, values, kind)
    assert {row["step"] for row in rows} == {0}
    assert {row["reference"] for row in rows} == {"synthetic/train"}


def test_kept_pictures_with_labels_have_distances_within_classes():
    real, fake = pictures(40, 1), pictures(30, 2)
    scorer = scorer_lib.Scorer(network(), protocol(), real)
    name = NAMES["classifier"]["intra_class_frechet_distance"]
    chosen = fixed_order(30)
    expected = metrics.intra_class_frechet_distance(
        outputs_of(real.images)[0],
        real.labels,
        outputs_of(fake.images[chosen])[0],
        fake.labels[chosen],
    )
    found = by_name(scorer.kept(fake))[name]["value"]
    assert found == pytest.approx(expected, rel=1e-5)
    fake = dataclasses.replace(fake, labels=None)
    assert name not in by_name(scorer.kept(fake))


@pytest.mark.parametrize(("exact", "hint"), [(True, ""), (False, ", unless e")])
def test_too_few_kept_pictures_are_refused(exact, hint):
    scorer = scorer_lib.Scorer(
        network(), protocol(exact=exact), pictures(40, 1)
    )
    message = f"small needs 30 generated pictures{hint}.*Received: 29 in synth"
    with pytest.raises(UserError, match=message):
        scorer.kept(pictures(29, 2))


def test_smallest_class_share_is_that_of_all_generated_pictures():
    small = protocol(num_fake=30, num_scored=20)
    scorer = scorer_lib.Scorer(network(), small, pictures(60, seed=1), seed=5)
    row = by_name(scorer.generated(Sampler(), 1))["smallest_class_share"]
    classes = outputs_of(Sampler().images(5, 30))[1].argmax(axis=1)
    share = min(np.mean(classes == c) for c in range(CLASSES))
    assert 0 < share < 1 / CLASSES
    assert row["value"] == pytest.approx(share)
    assert (row["num_real"], row["num_fake"]) == (0, 30)
    assert row["std"] is None


def test_class_that_is_never_made_has_the_share_0():
    scorer = scorer_lib.Scorer(network(), protocol(), pictures(60, seed=1))
    black = Sampler(shift=255)
    row = by_name(scorer.generated(black, 1))["smallest_class_share"]
    assert row["value"] == 0


def test_kernel_distance_of_many_blocks_has_its_error():
    count = 2100  # More than two blocks of 1024.
    train = pictures(count, seed=1)
    small = protocol(num_real=count, num_fake=40)
    scorer = scorer_lib.Scorer(network(), small, train, seed=5)
    row = by_name(scorer.generated(Sampler(), 1))["kernel_classifier_distance"]
    value, error = metrics.kernel_distance(
        outputs_of(train.images[fixed_order(count)])[0],
        outputs_of(Sampler().images(5, 40))[0],
    )
    assert error > 0
    np.testing.assert_allclose(row["value"], value, rtol=1e-4)
    np.testing.assert_allclose(row["std"], error, rtol=1e-3)


def test_records_can_be_written_as_json():
    scorer = scorer_lib.Scorer(network(), protocol(), pictures(60, seed=1))
    rows = scorer.generated(Sampler(CLASSES), 1) + scorer.real(1)
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows


def test_equal_seeds_give_equal_records():
    train = pictures(60, seed=1)
    scorer = scorer_lib.Scorer(network(), protocol(), train, seed=5)
    rows = scorer.generated(Sampler(), 1)
    assert scorer.generated(Sampler(), 1) == rows
    real = scorer.real(1)
    assert scorer.real(1) == real
    again = scorer_lib.Scorer(network(), protocol(), train, seed=5)
    assert (again.generated(Sampler(), 1), again.real(1)) == (rows, real)
    other = scorer_lib.Scorer(network(), protocol(), train, seed=6)
    assert other.generated(Sampler(), 1) != rows


def test_moments_and_radii_of_real_pictures_are_made_once(monkeypatch):
    made = []
    for kind in (metrics.Moments, metrics.Manifold):

        def counted(features, of=kind.of):
            made.append(len(features))
            return of(features)

        monkeypatch.setattr(kind, "of", counted)
    train = pictures(80, seed=1)
    for expected in ([40, 40], []):
        scorer = scorer_lib.Scorer(network(), protocol(), train, seed=5)
        assert made == expected
        made.clear()
    for step in range(2):
        scorer.generated(Sampler(), step)
    assert made == 4 * [30]
    made.clear()
    for _ in range(2):  # Others of the training set are kept too.
        scorer.real(1)
        assert made == 2 * [30]


# Distances within the classes.


def test_intra_class_distance_is_that_of_labels_in_turn():
    train = pictures(60, seed=1)
    scorer = scorer_lib.Scorer(network(), protocol(), train, seed=5)
    rows = scorer.generated(Sampler(CLASSES), 1)
    row = by_name(rows)["intra_class_frechet_classifier_distance"]
    chosen = fixed_order(60)[:40]
    value = metrics.intra_class_frechet_distance(
        outputs_of(train.images[chosen])[0],
        train.labels[chosen],
        outputs_of(Sampler().images(5, 30))[0],
        np.arange(30) % CLASSES,
    )
    np.testing.assert_allclose(row["value"], value, rtol=1e-4)
    assert (row["num_real"], row["num_fake"]) == (40, 30)
    assert row["std"] is None


@pytest.mark.parametrize(
    ("classes", "labelled", "num_fake"),
    [
        (None, True, 30),
        (CLASSES, False, 30),
        # A class that only one set has, or has once.
        (CLASSES - 1, True, 30),
        (CLASSES, True, CLASSES + 1),
    ],
)
def test_intra_class_distance_needs_labels_of_both(classes, labelled, num_fake):
    train = pictures(60, seed=1, labelled=labelled)
    small = protocol(num_fake=num_fake)
    scorer = scorer_lib.Scorer(network("inception"), small, train)
    names = by_name(scorer.generated(Sampler(classes), 1))
    assert "intra_class_frechet_inception_distance" not in names
    assert "frechet_inception_distance" in names


# Real pictures in the place of generated ones.


@pytest.mark.parametrize("kind", ["inception", "classifier"])
@pytest.mark.parametrize(
    ("count", "num_scored"), [(70, 20), (100, 36), (80, 60)]
)
def test_others_of_the_training_set_stand_in(kind, count, num_scored):
    train = pictures(count, seed=1)
    small = protocol(num_scored=num_scored)
    rows = scorer_lib.Scorer(network(kind), small, train, seed=5).real(70)
    order = fixed_order(count)
    real, others = train.images[order[:40]], train.images[order[40:]]
    scored = others[: max(30, num_scored)][:num_scored]
    values = expected(real, others[:30], scored, 4)
    assert by_name(rows).keys() == {
        f"real_{NAMES[kind][metric]}" for metric in values
    }
    assert_measures(rows, values, kind, prefix="real_")
    for row in rows:
        assert row.keys() == KEYS
        assert row["step"] == 70


def test_score_of_others_has_whole_splits():
    train = pictures(40 + 31, seed=1)
    small = protocol(num_scored=40)
    rows = scorer_lib.Scorer(network(), small, train).real(1)
    row = by_name(rows)["real_classifier_score"]
    scored = train.images[fixed_order(71)[40:68]]
    value, std = metrics.inception_score(outputs_of(scored)[1], 4)
    np.testing.assert_allclose(row["value"], value, rtol=1e-4)
    np.testing.assert_allclose(row["std"], std, rtol=1e-3)
    assert row["num_fake"] == 28


@pytest.mark.parametrize("count", [40, 69, 55])
def test_halves_are_compared_where_too_few_others_are_left(count):
    train = pictures(count, seed=1)
    rows = scorer_lib.Scorer(network(), protocol(), train, seed=5).real(70)
    chosen = train.images[fixed_order(count)[:40]]
    values = expected(chosen[:20], chosen[20:], chosen[:20], 4)
    assert_measures(rows, values, prefix="real_")


def test_too_small_halves_are_not_compared():
    small = protocol(num_real=7, exact=False)
    scorer = scorer_lib.Scorer(network(), small, pictures(7, seed=1))
    assert scorer.real(1) == []
    small = protocol(num_fake=3)
    assert (
        scorer_lib.Scorer(network(), small, pictures(60, seed=1)).real(1) == []
    )
    small = protocol(num_real=8, num_scored=8)
    scorer = scorer_lib.Scorer(network(), small, pictures(8, seed=1))
    counts = by_name(scorer.real(1))["real_frechet_classifier_distance"]
    assert (counts["num_real"], counts["num_fake"]) == (4, 4)


# Held-out pictures.


def test_held_out_pictures_are_the_reference_and_training_ones_stand_in():
    train = pictures(60, seed=1)
    test = pictures(50, seed=2, name="synthetic/test")
    small = protocol(held_out=True)
    scorer = scorer_lib.Scorer(network(), small, train, test, seed=5)
    real = test.images[fixed_order(50)[:40]]
    rows = scorer.generated(Sampler(CLASSES), 70)
    fake = Sampler().images(5, 30)
    assert_measures(rows, expected(real, fake, fake[:20], 4))
    chosen = fixed_order(50)[:40]
    intra = by_name(rows)["intra_class_frechet_classifier_distance"]
    value = metrics.intra_class_frechet_distance(
        outputs_of(real)[0],
        test.labels[chosen],
        outputs_of(fake)[0],
        np.arange(30) % CLASSES,
    )
    np.testing.assert_allclose(intra["value"], value, rtol=1e-4)

    standing = train.images[fixed_order(60)[:30]]
    values = expected(real, standing, standing[:20], 4)
    real_rows = scorer.real(70)
    assert_measures(real_rows, values, prefix="real_")
    for row in rows + real_rows:
        assert row["reference"] == "synthetic/test"


# Too few pictures.


def test_exact_protocol_refuses_a_small_data_set():
    with pytest.raises(UserError, match="needs 40 real.*39 in synthetic/train"):
        scorer_lib.Scorer(network(), protocol(), pictures(39, seed=1))


def test_protocol_of_held_out_pictures_needs_some():
    match = "^`held_out` must be pictures with the protocol small. Received"
    with pytest.raises(ValueError, match=match):
        scorer_lib.check(protocol(held_out=True), pictures(60, seed=1))


def test_exact_protocol_refuses_a_small_held_out_set():
    test = pictures(39, seed=2, name="synthetic/test")
    with pytest.raises(UserError, match="needs 40 real.*39 in synthetic/test"):
        scorer_lib.Scorer(
            network(), protocol(held_out=True), pictures(60, seed=1), test
        )


def test_other_protocols_take_a_small_data_set_whole():
    train = pictures(12, seed=1)
    scorer = scorer_lib.Scorer(network(), protocol(exact=False), train, seed=5)
    rows = scorer.generated(Sampler(), 1)
    fake = Sampler().images(5, 30)
    assert_measures(rows, expected(train.images, fake, fake[:20], 4))


@pytest.mark.parametrize("count", [1, 3])
def test_three_neighbours_need_four_pictures(count):
    small = protocol(exact=False)
    with pytest.raises(
        UserError, match=f"more than 3 real.*Received: {count} in synthetic"
    ):
        scorer_lib.Scorer(network(), small, pictures(count, seed=1))
    scorer_lib.Scorer(network(), small, pictures(4, seed=1))


# Comparison.


@pytest.mark.parametrize("kind", ["inception", "classifier"])
@pytest.mark.parametrize("metric", [*NAMES["inception"]])
def test_names_are_those_of_the_literature(kind, metric):
    assert scorer_lib.name_of(metric, kind) == NAMES[kind][metric]
    assert scorer_lib.METRICS.keys() == NAMES[kind].keys()


def record(value, step=10, **changes):
    row = {
        "step": step,
        "metric": "frechet_classifier_distance",
        "value": value,
        "std": None,
        "protocol": "quick",
        "num_real": 50,
        "num_fake": 50,
        "reference": "digits/all",
        "features": "classifier-0",
        "resize": "none",
    }
    return {**row, **changes}


CHANGES = [
    {"protocol": "paper"},
    {"num_real": 49},
    {"num_fake": 49},
    {"reference": "digits/test"},
    {"features": "classifier-1"},
    {"resize": "bilinear to 32"},
]


@pytest.mark.parametrize("kind", ["inception", "classifier"])
@pytest.mark.parametrize(
    ("metric", "more_is_better"),
    [
        ("score", True),
        ("frechet_distance", False),
        ("kernel_distance", False),
        ("precision", True),
        ("recall", True),
        ("intra_class_frechet_distance", False),
    ],
)
def test_better_records_beat_and_equal_ones_do_not(
    kind, metric, more_is_better
):
    name = NAMES[kind][metric]
    known = [record(2.0, metric=name)]
    for value, more in ((3.0, True), (1.0, False)):
        new = [
            record(0.5, step=20, metric="other"),
            record(value, step=20, metric=name),
        ]
        assert scorer_lib.beats(new, known, metric) == (more == more_is_better)
    assert not scorer_lib.beats(
        [record(2.0, step=20, metric=name)], known, metric
    )


def test_best_of_several_records_counts():
    known = [record(9.0), record(2.0), record(9.0)]
    for value, better in ((1.5, True), (2.5, False)):
        new = [record(value, step=40)]
        assert scorer_lib.beats(new, known, "frechet_distance") == better


@pytest.mark.parametrize("change", CHANGES)
def test_records_that_do_not_compare_are_beaten(change):
    new = [record(2.0, step=20)]
    assert not scorer_lib.beats(new, [record(1.0)], "frechet_distance")
    assert scorer_lib.beats(new, [record(1.0, **change)], "frechet_distance")


def test_without_another_record_any_is_best():
    assert scorer_lib.beats([record(2.0)], [], "frechet_distance")


@pytest.mark.parametrize("change", [*CHANGES, {"metric": "score"}, {"new": 1}])
def test_other_fields_make_records_incomparable(change):
    assert not scorer_lib.comparable(record(1.0), record(1.0, **change))
    assert not scorer_lib.comparable(record(1.0, **change), record(1.0))


def test_step_value_and_spread_leave_records_comparable():
    assert scorer_lib.comparable(record(1.0), record(2.0, step=20, std=0.1))


# Memory.

MANY_EVALUATIONS = """
import re
import keras
import numpy as np
from keras import layers
from sngan_tf import data
from sngan_tf.gan import methods
from sngan_tf.gan import sampler as sampler_lib
from sngan_tf.metrics import protocols
from sngan_tf.metrics import scorer as scorer_lib
from sngan_tf.metrics.features import FeatureNetwork
from sngan_tf.networks import build

def resident():
    status = open("/proc/self/status").read()
    return int(re.search(r"VmRSS:\\s+(\\d+) kB", status).group(1)) / 1024

generator, _ = build(
    "cnn", (16, 16, 1), latent_dim=8, width=1 / 8,
    method=methods.get("none", None),
)
images = keras.Input((16, 16, 1), dtype="uint8")
x = layers.Rescaling(1 / 127.5, -1.0)(images)
x = layers.Conv2D(64, 3, activation="relu")(x)
x = layers.GlobalAveragePooling2D()(layers.Conv2D(512, 3)(x))
x = layers.Dense(2000)(x)
features = layers.Dense(16)(x)
model = keras.Model(images, [features, layers.Dense(10)(features)])
network = FeatureNetwork(
    "classifier", "0" * 12, lambda x: model(x, training=False), "none", 50
)
real = np.random.default_rng(0).integers(0, 256, (200, 16, 16, 1))
pictures = data.Pictures(real.astype(np.uint8), None, (), "noise")
protocol = protocols.Protocol("small", False, 200, 200, 200, 10)
scorer = scorer_lib.Scorer(network, protocol, pictures)
sampler = sampler_lib.Sampler(generator)
found = []
for step in range(20):
    scorer.generated(sampler, step)
    found.append(resident())
print(found[19] - found[4], model.count_params() * 4 / 2**20)
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not pathlib.Path("/proc/self/status").exists(),
    reason="resident memory is read from /proc",
)
def test_evaluations_leave_no_memory_behind(tmp_path):
    """tensorflow/gan#25: each evaluation kept a copy of the network."""
    script = tmp_path / "script.py"
    script.write_text(MANY_EVALUATIONS)
    process = subprocess.run(
        [sys.executable, str(script)],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "TF_CPP_MIN_LOG_LEVEL": "2",
        },
    )
    grown, size = map(float, process.stdout.split())
    # Fifteen copies of the network would be 15 * size.
    assert 15 * size > 60
    assert grown < 15


@pytest.mark.parametrize("batches", [[7, 7], [7, 3], [1, 2, 11]])
def test_evaluations_trace_the_network_no_more_than_twice(batches):
    """Once for the first shape and once for all others."""
    traced = []

    def outputs(images):
        traced.append(images.shape)
        return images[:, 0, 0], images[:, 0, 0]

    net = FeatureNetwork("inception", "0", outputs, "none", batch_size=7)
    images = np.zeros((sum(batches), 4, 4, 1), np.uint8)
    ends = np.cumsum(batches)[:-1]
    for _ in range(3):
        net.stream(np.split(images, ends), len(images))
    assert len(traced) <= 2
