import numpy as np
import pytest

from sngan_tf import files
from sngan_tf import images as images_lib
from sngan_tf.gan import sampler as sampler_lib
from sngan_tf.runs import build
from sngan_tf.runs import checkpoint
from sngan_tf.runs import interrupts as interrupts_lib
from sngan_tf.runs import records as records_lib
from sngan_tf.runs import workdir as workdir_lib


class Scorer:
    """Scores by values in turn."""

    def __init__(self, *values):
        self.values = iter(values)

    def generated(self, sampler, step):
        metrics = "classifier_recall", "frechet_classifier_distance"
        values = 0.5, next(self.values)
        return [
            {"step": step, "metric": metric, "value": value}
            for metric, value in zip(metrics, values)
        ]


@pytest.fixture
def run(tmp_path):
    return workdir_lib.Workdir(tmp_path / "run")


@pytest.fixture
def evaluate(tiny_config, run):
    """Returns a function that evaluates one GAN at steps, by values."""
    tiny_config.data.channels = 1
    gan = build.gan(tiny_config)
    run.prepare(tiny_config)

    def evaluate(*pairs):
        steps, values = zip(*pairs)
        with interrupts_lib.Interrupts() as interrupts:
            records = records_lib.Records(
                tiny_config, run, gan, Scorer(*values), interrupts
            )
            for step in steps:
                gan.step.assign(step)
                records.scores.score(step)

    return evaluate


def kept(run):
    """Returns the step of the best checkpoint, and its score beside it."""
    rows = files.read_rows(run.best_scores)
    assert {row["step"] for row in rows} <= {checkpoint.latest_step(run.best)}
    return checkpoint.latest_step(run.best), rows[-1]["value"]


@pytest.mark.parametrize("restart", [False, True])
def test_best_has_its_own_score_whatever_its_step_scored_later(
    evaluate, run, restart
):
    """As where a run went back, for its last checkpoint was damaged."""
    pairs = [(9, 10.0), (9, 20.0), (12, 15.0)]
    for part in [[pair] for pair in pairs] if restart else [pairs]:
        evaluate(*part)
    assert kept(run) == (9, 10.0)
    evaluate((9, 8.0), (12, 9.0))
    assert kept(run) == (9, 8.0)
    evaluate((12, 7.0))
    assert kept(run) == (12, 7.0)


def test_best_from_before_it_kept_its_score_has_that_of_all(evaluate, run):
    evaluate((3, 10.0), (6, 5.0), (6, 20.0))
    run.best_scores.unlink()
    evaluate((9, 7.0))
    assert checkpoint.latest_step(run.best) == 6
    evaluate((9, 4.0))
    assert kept(run) == (9, 4.0)


@pytest.mark.parametrize("count", [1, 2])
def test_killed_evaluation_is_made_again(evaluate, run, monkeypatch, count):
    """Whichever file it did not come to write."""
    evaluate((3, 10.0))
    writer, calls = files.write_rows, iter(range(1, 9))

    def write_or_die(*args):
        if next(calls) == count:
            raise KeyboardInterrupt
        writer(*args)

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_rows", write_or_die)
        with pytest.raises(KeyboardInterrupt):
            evaluate((6, 5.0))
    assert [row["step"] for row in files.read_rows(run.scores)] == [3, 3]
    evaluate((6, 5.0), (9, 7.0))
    assert kept(run) == (6, 5.0)
    steps = [row["step"] for row in files.read_rows(run.scores)]
    assert steps == [3, 3, 6, 6, 9, 9]


def test_grids_of_other_counts_make_one_evolution(tiny_config, run):
    tiny_config.data.channels = 1
    gan = build.gan(tiny_config)
    run.prepare(tiny_config)
    records = records_lib.Records(tiny_config, run, gan, None, None)
    widths = []
    for step, count in ((2, 9), (4, 4)):
        images = np.full((count, 8, 8, 1), step, np.uint8)
        grid = sampler_lib.save_grid(
            run.samples / f"step_{step:08d}.png", images
        )
        widths.append(grid.shape[1])
    records.evolution()
    evolution = images_lib.read_png(run.samples / "evolution.png")
    assert evolution.shape[1] == min(widths) < max(widths)
    assert {2, 4} <= {*np.unique(evolution)}
