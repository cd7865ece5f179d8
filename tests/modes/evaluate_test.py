import dataclasses
import logging
import shutil

import numpy as np
import pytest
import small

from sngan_tf import data
from sngan_tf import files
from sngan_tf import images as images_lib
from sngan_tf.errors import UserError
from sngan_tf.metrics import features
from sngan_tf.metrics import protocols
from sngan_tf.metrics import scorer as scorer_lib
from sngan_tf.metrics.features import classifier
from sngan_tf.modes import evaluate
from sngan_tf.modes import train
from sngan_tf.runs import build
from sngan_tf.runs import scoring
from sngan_tf.runs import workdir as workdir_lib

pytestmark = pytest.mark.slow


@pytest.fixture
def workdir(tmp_path):
    return workdir_lib.Workdir(tmp_path / "run")


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return tmp_path_factory.mktemp("shared")


@pytest.fixture
def trained(tiny_config, workdir, shared):
    """Returns the workdir of a run of four updates, a copy for each test."""
    run = workdir_lib.Workdir(shared / "run")
    if not run.path.exists():
        train.train(tiny_config, run)
    shutil.copytree(run.path, workdir.path)
    return workdir


def small_protocols(monkeypatch, **changes):
    """Makes every protocol a small one of its kind."""
    get = protocols.get
    counts = {"num_real": 30, "num_fake": 12, "num_scored": 20, "splits": 2}

    def small(name, quick_samples):
        return dataclasses.replace(
            get(name, quick_samples), **{**counts, **changes}
        )

    monkeypatch.setattr(protocols, "get", small)


def save_pictures(folder, classes, count, seed):
    random = np.random.default_rng(seed)
    for name in classes:
        for i in range(count):
            noise = random.integers(0, 256, (8, 8, 1)).astype(np.uint8)
            images_lib.save_png(folder / name / f"{i}.png", noise)
    return f"folder:{folder}"


def names_at(rows, step):
    return [row["metric"] for row in rows if row["step"] == step]


# The scorer of a config.


def test_classifier_is_that_of_the_training_set(tiny_config):
    pictures = build.pictures(tiny_config)
    scorer = scoring.scorer(tiny_config, pictures, "quick")
    expected = features.load_classifier(pictures, 5)
    assert scorer.network.kind == "classifier"
    assert scorer.network.name == expected.name
    assert scorer.protocol == protocols.get("quick", 50)


def test_inception_is_that_of_the_folder(tiny_config, inception):
    tiny_config.evaluation.features = "inception"
    tiny_config.evaluation.inception = str(inception)
    pictures = build.pictures(tiny_config)
    scorer = scoring.scorer(tiny_config, pictures, "quick")
    expected = features.load_inception(str(inception))
    assert scorer.network.kind == "inception"
    assert scorer.network.name == expected.name
    rows = scorer.real(3)
    assert [row["metric"] for row in rows][:2] == [
        "real_inception_score",
        "real_frechet_inception_distance",
    ]
    assert rows[0]["resize"] == expected.resize != "none"


def test_data_without_labels_has_scores_by_inception_alone(
    tiny_config, inception, caplog
):
    pictures = dataclasses.replace(
        build.pictures(tiny_config), labels=None, class_names=()
    )
    with caplog.at_level(logging.WARNING):
        assert scoring.scorer(tiny_config, pictures, "quick") is None
    assert "Not scored: a classifier needs two or more" in caplog.text
    assert "digits/all" in caplog.text
    tiny_config.evaluation.features = "inception"
    tiny_config.evaluation.inception = str(inception)
    scorer = scoring.scorer(tiny_config, pictures, "quick")
    assert len(scorer.real(1)) == 5


def test_saved_classifier_scores_with_labels_and_without(
    tiny_config, tmp_path, caplog
):
    path = tmp_path / "own.keras"
    tiny_config.evaluation.classifier = str(path)
    pictures = build.pictures(tiny_config)
    with pytest.raises(UserError, match="^`evaluation.classifier` must be"):
        scoring.maker(tiny_config, pictures, "quick")
    model = classifier._network((8, 8, 1), 10)
    model.save(path)
    with caplog.at_level(logging.INFO):
        network = scoring.scorer(tiny_config, pictures, "quick").network
    assert network.name == classifier.frozen(model).name
    share = 100 * features.accuracy(network, pictures)
    assert f"{network.name} is right on {share:.1f}% of a fifth" in caplog.text
    pictures = dataclasses.replace(pictures, labels=None, class_names=())
    scorer = scoring.scorer(tiny_config, pictures, "quick")
    assert {row["features"] for row in scorer.real(1)} == {network.name}


def test_seed_and_samples_are_those_of_the_config(tiny_config):
    pictures = build.pictures(tiny_config)
    tiny_config.evaluation.seed = 17
    tiny_config.evaluation.samples = 23
    scorer = scoring.scorer(tiny_config, pictures, "quick")
    asked = []

    class Sampler:
        def batches(self, seed, count):
            asked.append((seed, count))
            yield pictures.images[:count]

        def labels(self, count):
            return None

    rows = scorer.generated(Sampler(), 1)
    assert asked == [(17, 23)]
    assert {row["num_fake"] for row in rows} == {23}


@pytest.mark.parametrize("name", ["digits", "folder:/some/folder"])
def test_paper_needs_pictures_that_are_held_out(tiny_config, name):
    pictures = build.pictures(tiny_config)
    tiny_config.data.name = name
    message = f"`evaluation.reference` must name.*paper, as {name} has none"
    with pytest.raises(UserError, match=message):
        scoring.scorer(tiny_config, pictures, "paper")


def test_paper_takes_distances_to_a_folder_of_pictures(
    tiny_config, tmp_path, monkeypatch
):
    small_protocols(monkeypatch)
    name = save_pictures(tmp_path / "held_out", "ab", 20, seed=3)
    tiny_config.evaluation.reference = name
    pictures = build.pictures(tiny_config)
    scorer = scoring.scorer(tiny_config, pictures, "paper")
    held_out = data.load(name, 8, channels=1)
    expected = scorer_lib.Scorer(
        scorer.network, protocols.get("paper", 50), pictures, held_out, seed=1
    )
    rows = scorer.real(4)
    assert rows == expected.real(4)
    assert {row["reference"] for row in rows} == {name}
    assert {row["protocol"] for row in rows} == {"paper"}


def test_paper_refuses_a_small_folder(tiny_config, tmp_path):
    name = save_pictures(tmp_path / "held_out", "ab", 3, seed=3)
    tiny_config.evaluation.reference = name
    pictures = build.pictures(tiny_config)
    with pytest.raises(UserError, match="needs 10,000 real.*Received: 6 in"):
        scoring.scorer(tiny_config, pictures, "paper")


def test_50k_takes_the_training_set_and_no_other(tiny_config):
    tiny_config.evaluation.reference = "folder:/no/such/folder"
    pictures = build.pictures(tiny_config)
    with pytest.raises(UserError, match="50,000 real.*1,797 in digits/all"):
        scoring.scorer(tiny_config, pictures, "50k")


def test_reference_that_cannot_be_read_is_named(tiny_config):
    tiny_config.evaluation.reference = "folder:/no/such/folder"
    pictures = build.pictures(tiny_config)
    with pytest.raises(
        UserError, match="`evaluation.reference` or its split.*/no/such/folder"
    ):
        scoring.scorer(tiny_config, pictures, "paper")


def test_held_out_split_is_loaded_like_the_data(tiny_config, monkeypatch):
    pictures = build.pictures(tiny_config)
    small_protocols(monkeypatch)
    tiny_config.data.name = "cifar10"
    tiny_config.data.directory = "somewhere"
    tiny_config.data.min_side = 9
    tiny_config.evaluation.split = "test[:50%]"
    asked = []

    def load(name, image_size, **options):
        asked.append((name, image_size, options))
        return dataclasses.replace(pictures, reference="cifar10/test")

    monkeypatch.setattr(data, "load", load)
    scorer = scoring.scorer(tiny_config, pictures, "paper")
    assert scorer.real(1)[0]["reference"] == "cifar10/test"
    ((name, image_size, options),) = asked
    assert (name, image_size) == ("cifar10", 8)
    assert options["channels"] == 1
    assert options["split"] == "test[:50%]"
    assert options["directory"] == "somewhere"
    assert options["min_side"] == 9


@pytest.mark.parametrize(
    ("network", "refused"), [("resnet_projection", True), ("cnn", False)]
)
def test_conditional_networks_need_the_classes_of_the_data(
    tiny_config, tmp_path, monkeypatch, network, refused
):
    small_protocols(monkeypatch)
    name = save_pictures(tmp_path / "held_out", "ab", 20, seed=3)
    tiny_config.evaluation.reference = name
    tiny_config.network.name = network
    pictures = build.pictures(tiny_config)
    if not refused:
        scorer = scoring.scorer(tiny_config, pictures, "paper")
        assert scorer.real(1)[0]["reference"] == name
        return
    message = "must have the classes.*with 2 classes, digits/all with 10"
    with pytest.raises(UserError, match=message):
        scoring.scorer(tiny_config, pictures, "paper")
    save_pictures(tmp_path / "held_out", "0123456789", 4, seed=3)
    for path in (tmp_path / "held_out").glob("[ab]"):
        path.rename(tmp_path / path.name)
    scorer = scoring.scorer(tiny_config, pictures, "paper")
    assert scorer.real(1)[0]["reference"] == name


# The verb.


def expected_rows(config, workdir, step, which):
    """Returns what a restored GAN of a checkpoint scores."""
    pictures = build.pictures(config)
    scorer = scoring.scorer(config, pictures, config.evaluation.protocol)
    gan = build.restored_gan(config, workdir, which)
    return scorer.generated(gan.sampler, step)


def test_last_then_best_then_real_are_recorded_once(
    tiny_config, trained, add_best
):
    add_best(tiny_config, trained, 2)
    rows = evaluate.evaluate(tiny_config, trained)
    generated = [*small.SCORES, "smallest_class_share"]
    assert [(row["step"], row["metric"]) for row in rows] == [
        *((4, name) for name in generated),
        *((2, name) for name in generated),
        *((4, f"real_{name}") for name in small.SCORES),
    ]
    assert files.read_rows(trained.scores) == rows
    text = trained.scores.read_text()
    assert evaluate.evaluate(tiny_config, trained) == rows
    assert trained.scores.read_text() == text

    values = {(row["step"], row["metric"]): row["value"] for row in rows}
    for step, which in ((4, "last"), (2, "best")):
        expected = expected_rows(tiny_config, trained, step, which)
        for row in expected:
            assert values[step, row["metric"]] == pytest.approx(
                row["value"], rel=1e-5, abs=1e-7
            )
    distance = "frechet_classifier_distance"
    assert values[2, distance] != pytest.approx(values[4, distance], rel=1e-2)
    real = values[4, f"real_{distance}"]
    assert real < min(values[2, distance], values[4, distance])


def test_best_is_always_scored_beside_the_last(tiny_config, trained, add_best):
    """Whichever of them samples and exports are of."""
    add_best(tiny_config, trained, 2)
    tiny_config.checkpoint = "best"
    rows = evaluate.evaluate(tiny_config, trained)
    assert rows[0]["step"] == 4
    assert {row["step"] for row in rows} == {2, 4}


def test_best_that_is_the_last_is_scored_once(tiny_config, trained, add_best):
    add_best(tiny_config, trained, 4)
    rows = evaluate.evaluate(tiny_config, trained)
    assert names_at(rows, 4) == [
        *small.SCORES,
        "smallest_class_share",
        *(f"real_{name}" for name in small.SCORES),
    ]
    assert len(rows) == 11


def test_run_without_a_best_is_scored(tiny_config, trained, caplog):
    rows = evaluate.evaluate(tiny_config, trained)
    assert len(rows) == 11
    assert {row["step"] for row in rows} == {4}
    assert "best" not in caplog.text


def test_damaged_best_is_passed_over(tiny_config, trained, caplog, add_best):
    add_best(tiny_config, trained, 2)
    path = trained.best / "step-2.data-00000-of-00001"
    path.write_bytes(path.read_bytes()[:100])
    rows = evaluate.evaluate(tiny_config, trained)
    assert "The best is not scored" in caplog.text
    assert {row["step"] for row in rows} == {4}
    assert rows[: len(small.SCORES) + 1] == [
        *expected_rows(tiny_config, trained, 4, "last")
    ]


def test_other_protocols_are_recorded_beside_each_other(tiny_config, trained):
    first = evaluate.evaluate(tiny_config, trained)
    tiny_config.evaluation.samples = 40
    second = evaluate.evaluate(tiny_config, trained)
    assert files.read_rows(trained.scores) == first + second


def test_scores_by_inception_bear_its_name(tiny_config, trained, inception):
    tiny_config.evaluation.features = "inception"
    tiny_config.evaluation.inception = str(inception)
    rows = evaluate.evaluate(tiny_config, trained)
    assert [row["metric"] for row in rows][:2] == [
        "inception_score",
        "frechet_inception_distance",
    ]
    assert all("classifier" not in row["metric"] for row in rows)


def test_evaluation_changes_no_weight_and_no_checkpoint(
    tiny_config, trained, add_best
):
    gan = build.restored_gan(tiny_config, trained)
    add_best(tiny_config, trained, 2)
    files = {
        path: path.read_bytes()
        for path in trained.checkpoints.rglob("*")
        if path.is_file()
    }
    before = [weight.numpy() for weight in gan.weights]
    pictures = build.pictures(tiny_config)
    scorer = scoring.scorer(tiny_config, pictures, "quick")
    scorer.generated(gan.sampler, 4)
    for weight, value in zip(gan.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value, err_msg=weight.path)
    evaluate.evaluate(tiny_config, trained)
    assert files == {
        path: path.read_bytes()
        for path in trained.checkpoints.rglob("*")
        if path.is_file()
    }


def test_data_without_labels_is_not_scored(
    tiny_config, workdir, tmp_path, caplog
):
    name = save_pictures(tmp_path / "pictures", [""], 10, seed=3)
    tiny_config.data.name = name
    train.train(tiny_config, workdir)
    assert evaluate.evaluate(tiny_config, workdir) == []
    assert "Not scored" in caplog.text
    assert not workdir.scores.exists()


def test_conditional_scores_have_the_distance_within_classes(
    tiny_config, workdir, tmp_path
):
    name = save_pictures(tmp_path / "pictures", "ab", 60, seed=3)
    tiny_config.data.name = name
    tiny_config.data.image_size = 32
    tiny_config.network.name = "resnet_projection"
    tiny_config.updates = 1
    tiny_config.evaluation.samples = 100
    path = tmp_path / "own.keras"
    classifier._network((32, 32, 1), 2).save(path)
    tiny_config.evaluation.classifier = str(path)
    train.train(tiny_config, workdir)
    rows = evaluate.evaluate(tiny_config, workdir)
    found = [row for row in rows if row["metric"].startswith("intra_class")]
    assert [row["metric"] for row in found] == [
        "intra_class_frechet_classifier_distance"
    ]
    assert found[0]["num_fake"] == 100
