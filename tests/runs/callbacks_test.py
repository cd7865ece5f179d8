import json
import math

import keras
import numpy as np
import pytest
import small
import tensorflow as tf

import sngan_tf
from sngan_tf import files
from sngan_tf import images
from sngan_tf.errors import UserError
from sngan_tf.runs import callbacks


class Counter(keras.Model):
    """Counts its updates; both losses of update k are `losses[k - 1]`."""

    def __init__(self, losses, start):
        super().__init__()
        self.losses_by_step = tf.constant(losses, tf.float32)
        self.step = self.add_weight(
            shape=(), initializer="zeros", dtype="int64", trainable=False
        )
        self.step.assign(start)
        self.d_loss = keras.metrics.Mean(name="d_loss")
        self.g_loss = keras.metrics.Mean(name="g_loss")
        self.built = True

    @property
    def metrics(self):
        return [self.d_loss, self.g_loss]

    def train_step(self, data):
        loss = self.losses_by_step[self.step.value]
        self.step.assign_add(1)
        self.d_loss.update_state(0.0)
        self.g_loss.update_state(loss)
        return {"d_loss": self.d_loss.result(), "g_loss": self.g_loss.result()}


class Sampler:
    """Makes gray pictures: the sum of its arguments and 10 times the step."""

    def __init__(self, model):
        self.model = model

    def many(self, seed, count, label=-1):
        level = 10 * int(self.model.step.value) + seed + label
        return np.full((count, 32, 32, 1), level, np.uint8)


def fit(updates, *callbacks, start=0, losses=range(1, 100)):
    model = Counter(list(losses), start)
    model.sampler = Sampler(model)
    model.compile(run_eagerly=True)
    return model.fit(
        tf.data.Dataset.range(updates - start).batch(1),
        steps_per_epoch=updates - start,
        shuffle=False,
        verbose=0,
        callbacks=list(callbacks),
    )


@pytest.mark.parametrize(
    ("every", "at_start", "start", "updates", "calls"),
    [
        (2, False, 0, 4, [2, 4]),
        (2, False, 0, 5, [2, 4, 5]),
        (1, False, 0, 3, [1, 2, 3]),
        (10, False, 0, 3, [3]),
        (2, True, 0, 3, [0, 2, 3]),
        (2, True, 3, 6, [4, 6]),
        (2, False, 4, 7, [6, 7]),
        (0, False, 0, 3, []),
        (0, True, 0, 3, []),
    ],
)
def test_every_calls_at_multiples_and_at_the_end(
    every, at_start, start, updates, calls
):
    steps = []
    fit(updates, callbacks.Every(every, steps.append, at_start), start=start)
    assert steps == calls


@pytest.mark.parametrize(
    ("value", "name"),
    [(math.nan, "nan"), (math.inf, "inf"), (-math.inf, "-inf")],
)
@pytest.mark.parametrize("every", [2, (0, 4), (5, 2)])
def test_loss_that_is_not_finite_stops_before_anything_is_kept(
    value, name, every
):
    """Wherever it was since the last look."""
    for losses in ([1, 2, value, 4, 5, 6], [1, 2, 3, value, 5, 6]):
        steps = []
        with pytest.raises(UserError, match=f"^g_loss is {name} at update 4;"):
            fit(
                6,
                callbacks.StopOnNonFinite(every),
                callbacks.TrainingLog(2, 8, lambda row: None),
                callbacks.Every(2, steps.append),
                losses=losses,
            )
        assert steps == [2]


@pytest.mark.parametrize("every", [0, 100, (4, 5)])
def test_loss_that_is_not_finite_is_found_at_the_end(every):
    steps = []
    with pytest.raises(UserError, match="^g_loss is nan at update 3;"):
        fit(
            3,
            callbacks.StopOnNonFinite(every),
            callbacks.Every(9, steps.append),
            losses=[math.nan, 2, 3],
        )
    assert steps == []


def test_finite_losses_go_on():
    steps = []
    stop = callbacks.StopOnNonFinite(1)
    fit(3, stop, callbacks.Every(3, steps.append), losses=[1e30, 0, -1e30])
    assert steps == [3]


def test_grids_are_of_the_same_latents_at_every_step(tmp_path):
    shown = {}
    grid = callbacks.SampleGrid(
        tmp_path / "new" / "grids",
        2,
        4,
        seed=7,
        label=3,
        function=shown.setdefault,
    )
    fit(3, grid)
    files_by_step = {
        int(path.stem.removeprefix("step_")): images.read_png(path)
        for path in (tmp_path / "new" / "grids").glob("step_????????.png")
    }
    assert shown.keys() == files_by_step.keys() == {0, 2, 3}
    for step, image in files_by_step.items():
        assert image.shape == (68, 68, 1)  # Two by two, and gaps of 2.
        assert image[0, 0] == 10 * step + 7 + 3
        np.testing.assert_array_equal(image, shown[step])


def test_scores_are_in_a_file_and_in_the_history(tmp_path):
    path, received = tmp_path / "scores.jsonl", []
    scores = callbacks.Scores(
        small.Scorer(), 2, path, lambda step, rows: received.extend(rows)
    )
    history = fit(4, scores).history
    fit(3, callbacks.Scores(small.Scorer(), 2, str(path)), start=1)
    rows = files.read_rows(path)
    # The second fit's scores of update 2 are known.
    assert [row["step"] for row in rows[::3]] == [2, 4, 3]
    assert {row["value"] - 10 * row["step"] for row in rows} == {-1.0}
    assert received == rows[:6]
    assert history["classifier_score"] == [39.0]
    assert history["g_loss"] == [2.5]


def test_scorer_without_rows_leaves_nothing(tmp_path):
    class Silent:
        def generated(self, sampler, step):
            return []

    path = tmp_path / "scores.jsonl"
    fit(2, callbacks.Scores(Silent(), 1, path, lambda *args: 1 / 0))
    assert not path.exists()


def test_callbacks_are_found_under_the_package():
    assert sngan_tf.callbacks is callbacks


class Clock(keras.callbacks.Callback):
    """A clock on which update k takes `seconds[k - 1]`."""

    def __init__(self, seconds):
        super().__init__()
        self.now = 1000.0
        self.seconds = iter(seconds)

    def on_train_batch_begin(self, batch, logs=None):
        self.now += next(self.seconds)


def log(monkeypatch, every, updates, seconds, start=0):
    clock, rows = Clock(seconds), []
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: clock.now)
    fit(
        updates,
        clock,
        callbacks.TrainingLog(every, 8, rows.append),
        start=start,
    )
    # As they go to a file.
    return json.loads(json.dumps(rows))


def row(step, g_loss, steps_per_second):
    return {
        "step": step,
        "d_loss": 0.0,
        "g_loss": g_loss,
        "images_per_second": 8 * steps_per_second,
        "steps_per_second": steps_per_second,
    }


def test_log_has_means_and_speed_since_the_last_row(monkeypatch):
    """The first update, which traces the graph, counts for no speed."""
    seconds = [100, 0.5, 1, 3, 1]
    rows = log(monkeypatch, every=2, updates=5, seconds=seconds)
    assert rows == [row(2, 1.5, 2.0), row(4, 3.5, 0.5)]


def test_log_of_a_run_that_goes_on(monkeypatch):
    """It keeps the multiples, and the means are those of its own updates."""
    seconds = [100, 0.25, 1, 1, 1]
    rows = log(monkeypatch, every=3, updates=9, seconds=seconds, start=4)
    assert rows == [row(6, 5.5, 4.0), row(9, 8.0, 1.0)]


def test_first_update_alone_has_no_speed(monkeypatch):
    rows = log(monkeypatch, every=1, updates=2, seconds=[100, 0.5])
    assert rows == [row(1, 1.0, 0.0), row(2, 2.0, 2.0)]


@pytest.mark.parametrize("start", [0, 2])
def test_progress_bar_ends_full(capsys, start):
    bar = callbacks.ProgressBar(3, images_per_update=8)
    bar.close()
    fit(3, bar, start=start)
    bar.close()
    shown = capsys.readouterr().err.split("\r")
    assert f"{start}/3" in shown[1]
    assert "100%" in shown[-1]
    assert "3/3" in shown[-1]
    assert shown[-1].endswith("\n")


def test_negative_number_of_updates_is_refused():
    with pytest.raises(ValueError, match="0 or more. Received: every=-1"):
        callbacks.Every(-1, print)
