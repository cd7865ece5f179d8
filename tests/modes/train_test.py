import json

import keras
import numpy as np
import pytest
import small
import tensorflow as tf

from sngan_tf import files
from sngan_tf import images as images_lib
from sngan_tf.errors import UserError
from sngan_tf.layers import spectral_estimates
from sngan_tf.layers import spectral_norms
from sngan_tf.metrics import features
from sngan_tf.modes import evaluate
from sngan_tf.modes.train import train
from sngan_tf.runs import build
from sngan_tf.runs import checkpoint
from sngan_tf.runs import page
from sngan_tf.runs import scoring
from sngan_tf.runs import workdir as workdir_lib


@pytest.fixture
def workdir(tmp_path):
    return workdir_lib.Workdir(tmp_path / "run")


def test_writes_what_the_contract_names(
    tiny_config, workdir, caplog, monkeypatch
):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    caplog.set_level("INFO", "sngan_tf")
    tiny_config.evaluate_every = 4
    gan = train(tiny_config, workdir)
    assert int(gan.step.numpy()) == 4

    config = json.loads(workdir.config.read_text())
    assert config["updates"] == 4
    assert config["data"]["channels"] == 1

    rows = files.read_rows(workdir.train_log)
    assert [row["step"] for row in rows] == [2, 4]
    for row in rows:
        assert {"d_loss", "g_loss"} < row.keys()
        assert row["images_per_second"] == pytest.approx(
            8 * row["steps_per_second"]
        )
    assert rows[-1]["spectral_norms"] == pytest.approx(
        spectral_estimates(gan.discriminator)
    )
    # The exact ones at the evaluation.
    (exact,) = files.read_rows(workdir.spectral_norms)
    assert exact["step"] == 4
    assert exact["spectral_norms"] == pytest.approx(
        spectral_norms(gan.discriminator)
    )
    assert "oneDNN: off (TF_ENABLE_ONEDNN_OPTS=0)" in caplog.messages

    grids = sorted(path.name for path in workdir.samples.iterdir())
    steps = [f"step_{step:08d}.png" for step in (0, 2, 4)]
    assert grids == ["evolution.png", *steps]
    # Nine pictures of 8 pixels, four times enlarged, and gaps of 2.
    first = images_lib.read_png(workdir.samples / steps[0])
    assert first.shape == (3 * 34, 3 * 34, 1)
    evolution = images_lib.read_png(workdir.samples / "evolution.png")
    rows = [images_lib.read_png(workdir.samples / s)[:34] for s in steps]
    np.testing.assert_array_equal(evolution, np.concatenate(rows))

    scores = files.read_rows(workdir.scores)
    assert [row["metric"] for row in scores] == [
        *small.SCORES,
        "smallest_class_share",
    ]
    for row in scores:
        assert row["step"] == 4
        assert row["protocol"] == "quick"
        real = row["metric"] not in ("classifier_score", "smallest_class_share")
        assert row["num_real"] == (50 if real else 0)
        assert row["num_fake"] == 50
        assert row["reference"] == "digits/all"
        assert row["features"].startswith("classifier-")
    assert checkpoint.latest_step(workdir.best) == 4

    assert list(workdir.tensorboard.glob("events.out.tfevents.*"))
    assert sorted(p.stem for p in workdir.checkpoints.glob("*.index")) == [
        "step-2",
        "step-4",
    ]


@pytest.mark.slow
def test_tensorboard_holds_losses_norms_and_pictures(
    tiny_config, workdir, monkeypatch
):
    from tensorboard.backend.event_processing import event_accumulator

    # Without labels there are no scores, but the exact norms.
    monkeypatch.setattr(scoring, "maker", lambda *args: None)
    tiny_config.evaluate_every = 4
    train(tiny_config, workdir)
    events = event_accumulator.EventAccumulator(
        str(workdir.tensorboard), {"tensors": 0}
    )
    events.Reload()
    tags = set(events.Tags()["tensors"])
    assert {"d_loss", "g_loss", "samples", "images_per_second"} <= tags
    for name, steps in (
        ("d_loss", [2, 4]),
        ("sigma/conv_1", [2, 4]),
        ("sigma/dense", [2, 4]),
        ("spectral_norm/conv_1", [4]),
        ("spectral_norm/dense", [4]),
    ):
        assert [event.step for event in events.Tensors(name)] == steps


@pytest.mark.slow
def test_gradients_are_logged_beside_an_unchanged_training(
    tiny_config, tmp_path
):
    from tensorboard.backend.event_processing import event_accumulator

    tiny_config.network.name = "resnet_projection"
    tiny_config.data.image_size = 32
    plain, logged = (
        workdir_lib.Workdir(tmp_path / name) for name in ("plain", "logged")
    )
    expected = train(tiny_config, plain)
    tiny_config.spectra.log_gradients = True
    found = train(tiny_config, logged)
    for a, b in zip(expected.variables, found.variables, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=a.path)
    added = {"lambdas", "gradient_shares"}
    pairs = zip(*(files.read_rows(run.train_log) for run in (plain, logged)))
    for old, new in pairs:
        assert new.keys() - old.keys() == added
        assert new["d_loss"] == old["d_loss"]
        for key in added:
            assert new[key].keys() == new["spectral_norms"].keys()
        assert all(0 < share <= 1 for share in new["gradient_shares"].values())
    events = event_accumulator.EventAccumulator(
        str(logged.tensorboard), {"tensors": 0}
    ).Reload()
    tags = set(events.Tags()["tensors"])
    assert {"lambda/conv_1", "gradient_share/dense"} < tags


@pytest.mark.slow
def test_continued_run_equals_an_uninterrupted_one(tiny_config, tmp_path):
    whole = train(tiny_config, workdir_lib.Workdir(tmp_path / "whole"))
    parts = workdir_lib.Workdir(tmp_path / "parts")
    tiny_config.updates = 2
    train(tiny_config, parts)
    tiny_config.updates = 4
    continued = train(tiny_config, parts)
    for a, b in zip(whole.weights, continued.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    rows = files.read_rows(parts.train_log)
    assert [row["step"] for row in rows] == [2, 4]


def test_times_of_training_and_the_report_are_kept(
    tiny_config, workdir, caplog
):
    for updates in (2, 4, 4):
        tiny_config.updates = updates
        train(tiny_config, workdir)
        assert f"{updates} of {updates} updates" in workdir.report.read_text()
    # Where nothing was left to do it wasn't trained.
    sessions = files.read_rows(workdir.sessions)
    assert [(row["start"], row["step"]) for row in sessions] == [(0, 2), (2, 4)]
    for row in sessions:
        assert row["seconds"] > 0
        assert row["keras"] == keras.__version__
        assert row["tensorflow"] == tf.__version__
        assert row["numpy"] == np.__version__
        assert row["devices"] == "1 x CPU"
    assert sessions[1]["began"] > "2020"
    assert keras.__version__ in workdir.report.read_text()


def test_report_that_fails_is_no_loss(
    tiny_config, workdir, caplog, monkeypatch
):
    def fail(*args):
        raise RuntimeError("odd\nmore")

    monkeypatch.setattr(page, "write", fail)
    tiny_config.updates = 2
    gan = train(tiny_config, workdir)
    assert int(gan.step.numpy()) == 2
    assert f"{workdir.report} can't be made: odd" in caplog.messages


@pytest.mark.slow
def test_finished_run_is_left_as_it_is(tiny_config, workdir):
    train(tiny_config, workdir)
    before = {p: p.stat().st_mtime_ns for p in workdir.checkpoints.iterdir()}
    train(tiny_config, workdir)
    after = {p: p.stat().st_mtime_ns for p in workdir.checkpoints.iterdir()}
    assert before == after


@pytest.mark.slow
def test_lost_updates_are_dropped_from_the_log(tiny_config, workdir):
    tiny_config.updates = 2
    train(tiny_config, workdir)
    files.append_row(workdir.train_log, {"step": 3, "d_loss": 9.0})
    tiny_config.updates = 4
    train(tiny_config, workdir)
    rows = files.read_rows(workdir.train_log)
    assert [row["step"] for row in rows] == [2, 4]


@pytest.mark.slow
def test_corrupt_newest_checkpoint_falls_back(tiny_config, workdir, caplog):
    train(tiny_config, workdir)
    newest = workdir.checkpoints / "step-4.data-00000-of-00001"
    newest.write_bytes(newest.read_bytes()[:1000])
    tiny_config.updates = 6
    gan = train(tiny_config, workdir)
    assert "step-4 is damaged" in caplog.text
    assert int(gan.step.numpy()) == 6


@pytest.mark.slow
def test_changed_config_is_refused_and_named(tiny_config, workdir):
    train(tiny_config, workdir)
    saved = workdir.config.read_text()
    tiny_config.loss = "non_saturating"
    tiny_config.network.width = 0.5
    with pytest.raises(UserError) as error:
        train(tiny_config, workdir)
    assert "loss (saved 'hinge', given 'non_saturating')" in str(error.value)
    assert "network.width (saved 0.03125, given 0.5)" in str(error.value)
    assert workdir.config.read_text() == saved


@pytest.mark.slow
def test_non_finite_loss_stops_with_its_name_and_step(tiny_config, workdir):
    tiny_config.updates = 50
    tiny_config.checkpoint_every = 50
    tiny_config.optimizer.learning_rate = 3e38
    with pytest.raises(UserError, match=r"[dg]_loss is \S+ at update \d+"):
        train(tiny_config, workdir)
    assert not workdir.has_checkpoint()


@pytest.mark.slow
def test_non_finite_weights_are_never_saved(tiny_config, workdir):
    tiny_config.updates = 50
    tiny_config.checkpoint_every = 1
    tiny_config.optimizer.learning_rate = 1e18
    with pytest.raises(UserError, match=r"not finite after update \d+"):
        train(tiny_config, workdir)
    tiny_config.updates = 1
    for weight in train(tiny_config, workdir).weights:
        assert np.isfinite(weight.numpy()).all()


@pytest.mark.slow
def test_mirrored_strategy_trains(tiny_config, workdir):
    tiny_config.distribution = "mirrored"
    gan = train(tiny_config, workdir)
    assert int(gan.step.numpy()) == 4
    assert workdir.has_checkpoint()


def test_batch_larger_than_the_data_is_refused(tiny_config, workdir):
    tiny_config.data.batch_size = 900
    tiny_config.discriminator_steps = 2
    with pytest.raises(
        UserError, match=r"data.batch_size=900.*discriminator_steps=2.*1797"
    ):
        train(tiny_config, workdir)
    assert not workdir.path.exists()


def test_bad_data_leaves_no_workdir(tiny_config, workdir):
    tiny_config.data.name = "folder:/no/such/folder"
    with pytest.raises(UserError, match="/no/such/folder"):
        train(tiny_config, workdir)
    assert not workdir.path.exists()


@pytest.mark.slow
def test_folder_of_pictures_trains_without_labels(
    tiny_config, workdir, tmp_path, caplog
):
    folder = tmp_path / "pictures"
    noise = np.random.default_rng(0).integers(0, 255, (10, 12, 10, 3))
    for i, image in enumerate(noise.astype("uint8")):
        images_lib.save_png(folder / f"{i}.png", image)
    tiny_config.data.name = f"folder:{folder}"
    tiny_config.evaluate_every = 2
    gan = train(tiny_config, workdir)
    assert "Not scored" in caplog.text
    assert evaluate.evaluate(tiny_config, workdir) == []
    assert not workdir.scores.exists()
    assert gan.discriminator.input_shape == (None, 8, 8, 3)


def save_pictures(folder, count):
    folder.mkdir(parents=True)
    for i in range(count):
        images_lib.save_png(
            folder / f"{i}.png", np.full((32, 32, 3), 20 * i, np.uint8)
        )


@pytest.mark.parametrize(
    ("classes", "num_classes", "message"),
    [
        ({}, 0, "needs labels"),
        ({"cat": 8}, 0, "two classes or more.*single class cat"),
        ({"cat": 8, "dog": 8}, 3, "data.num_classes=3, 2 classes"),
    ],
)
def test_labels_that_a_conditional_network_cannot_use(
    tiny_config, workdir, tmp_path, classes, num_classes, message
):
    folder = tmp_path / "pictures"
    for name, count in classes.items():
        save_pictures(folder / name, count)
    if not classes:
        save_pictures(folder, 8)
    tiny_config.data.name = f"folder:{folder}"
    tiny_config.data.image_size = 32
    tiny_config.data.num_classes = num_classes
    tiny_config.network.name = "resnet_projection"
    with pytest.raises(UserError, match=message):
        train(tiny_config, workdir)
    assert not workdir.path.exists()


def test_generator_batch_must_be_shared_by_replicas(tiny_config, workdir):
    tiny_config.distribution = "mirrored"
    tiny_config.generator_batch_size = 7
    with pytest.raises(UserError, match="generator_batch_size=7, 2 replicas"):
        train(tiny_config, workdir)


@pytest.mark.slow
def test_updates_stay_where_the_rate_decays_to_them(tiny_config, workdir):
    tiny_config.optimizer.decay_from = 2
    train(tiny_config, workdir)
    tiny_config.updates = 6
    with pytest.raises(UserError, match=r"updates \(saved 4, given 6\)"):
        train(tiny_config, workdir)


# Scores during training.


def score_by(monkeypatch, values, metric="frechet_classifier_distance", **also):
    """Replaces scores by the value chosen for each step; returns the steps."""
    steps = []

    class Scorer:
        def generated(self, sampler, step):
            steps.append(step)
            return [
                {"step": step, "metric": "other", "value": 0.5, **also},
                {"step": step, "metric": metric, "value": values[step], **also},
            ]

    def maker(config, pictures, protocol):
        assert protocol == "quick"
        return Scorer

    monkeypatch.setattr(scoring, "maker", maker)
    return steps


def test_classifier_is_trained_for_the_first_scores(
    tiny_config, workdir, monkeypatch
):
    def load_classifier(pictures, updates):
        assert checkpoint.latest_step(workdir.checkpoints) == 2
        raise KeyError

    monkeypatch.setattr(features, "load_classifier", load_classifier)
    tiny_config.evaluate_every = tiny_config.checkpoint_every = 2
    with pytest.raises(KeyError):
        train(tiny_config, workdir)


@pytest.mark.slow
def test_scores_are_quick_ones_whatever_the_protocol(
    tiny_config, workdir, monkeypatch
):
    from tensorboard.backend.event_processing import event_accumulator

    values = {1: 3.5, 2: 2.5, 3: 1.5, 4: 4.5}
    steps = score_by(monkeypatch, values)
    tiny_config.evaluate_every = 1
    tiny_config.evaluation.protocol = "paper"
    train(tiny_config, workdir)
    assert steps == [1, 2, 3, 4]
    rows = files.read_rows(workdir.scores)
    assert [(row["step"], row["value"]) for row in rows[1::2]] == [
        *values.items()
    ]
    events = event_accumulator.EventAccumulator(
        str(workdir.tensorboard), {"tensors": 0}
    )
    events.Reload()
    found = events.Tensors("frechet_classifier_distance")
    assert {
        event.step: float(tf.make_ndarray(event.tensor_proto))
        for event in found
    } == values
    assert [event.step for event in events.Tensors("other")] == steps


@pytest.mark.slow
@pytest.mark.parametrize(
    ("best", "metric", "values", "step"),
    [
        ("frechet_distance", "frechet_classifier_distance", [3, 1, 2, 4], 2),
        ("score", "inception_score", [1, 4, 5, 2], 3),
    ],
)
def test_best_checkpoint_is_that_of_the_best_score(
    tiny_config, workdir, monkeypatch, best, metric, values, step
):
    score_by(monkeypatch, dict(enumerate(values, 1)), metric)
    tiny_config.evaluate_every = 1
    tiny_config.evaluation.best = best
    train(tiny_config, workdir)
    assert [path.name for path in workdir.best.glob("*.index")] == [
        f"step-{step}.index"
    ]
    assert len([*workdir.best.glob("*.data-*")]) == 1
    gan = build.restored_gan(tiny_config, workdir, "best")
    assert int(gan.step.numpy()) == step


@pytest.mark.slow
def test_best_checkpoint_holds_the_weights_of_its_step(
    tiny_config, tmp_path, workdir, monkeypatch
):
    score_by(monkeypatch, {2: 1.0, 4: 2.0})
    tiny_config.evaluate_every = 2
    train(tiny_config, workdir)
    tiny_config.evaluate_every = 0
    tiny_config.checkpoint_every = 0
    tiny_config.updates = 2
    expected = train(tiny_config, workdir_lib.Workdir(tmp_path / "other"))
    gan = build.restored_gan(tiny_config, workdir, "best")
    for a, b in zip(gan.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=a.path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("later", "also", "step"),
    [
        (3.0, {}, 2),
        (1.0, {}, 4),
        # Measured on something else, so that it doesn't compare.
        (3.0, {"features": "another"}, 4),
    ],
)
def test_best_checkpoint_outlives_a_restart(
    tiny_config, workdir, monkeypatch, later, also, step
):
    tiny_config.evaluate_every = 2
    tiny_config.updates = 2
    score_by(monkeypatch, {2: 2.0})
    train(tiny_config, workdir)
    tiny_config.updates = 4
    score_by(monkeypatch, {4: later}, **also)
    train(tiny_config, workdir)
    assert [path.name for path in workdir.best.glob("*.index")] == [
        f"step-{step}.index"
    ]


@pytest.mark.slow
def test_unscored_run_has_no_best_checkpoint(tiny_config, workdir):
    train(tiny_config, workdir)
    assert not workdir.best.exists()


@pytest.mark.slow
def test_missing_inception_is_found_before_anything_is_written(
    tiny_config, workdir
):
    tiny_config.evaluate_every = 2
    tiny_config.evaluation.features = "inception"
    tiny_config.evaluation.inception = "/no/such/model"
    with pytest.raises(UserError, match="evaluation.inception=/no/such/model"):
        train(tiny_config, workdir)
    assert not workdir.path.exists()
    tiny_config.evaluate_every = 0
    train(tiny_config, workdir)
    assert workdir.has_checkpoint()


@pytest.mark.slow
def test_scoring_leaves_training_as_it_is(tiny_config, tmp_path, monkeypatch):
    """Neither a classifier trained first nor a cached one is in the way."""
    monkeypatch.setenv("SNGAN_TF_CACHE", str(tmp_path / "cache"))
    runs = []
    for i, evaluate_every in enumerate((0, 2, 2)):
        tiny_config.evaluate_every = evaluate_every
        runs.append(
            train(tiny_config, workdir_lib.Workdir(tmp_path / f"run_{i}"))
        )
    for run in runs[1:]:
        for a, b in zip(runs[0].weights, run.weights, strict=True):
            np.testing.assert_array_equal(a, b, err_msg=a.path)


@pytest.mark.slow
def test_executions_of_several_updates_keep_the_same_records(
    tiny_config, tmp_path
):
    runs = [workdir_lib.Workdir(tmp_path / str(i)) for i in (1, 2)]
    gans = []
    for i, run in enumerate(runs, start=1):
        tiny_config.steps_per_execution = i
        gans.append(train(tiny_config, run))
    for one, other in zip(gans[0].weights, gans[1].weights, strict=True):
        np.testing.assert_array_equal(one, other, err_msg=one.path)
    one, other = (files.read_rows(run.train_log) for run in runs)
    for row in one + other:
        for speed in ("images_per_second", "steps_per_second"):
            del row[speed]
    assert one == other
    for folder in ("checkpoints", "samples"):
        one, other = (
            sorted(path.name for path in (run.path / folder).iterdir())
            for run in runs
        )
        assert one == other
