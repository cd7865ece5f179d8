import pytest

from sngan_tf import report
from sngan_tf import workdir as workdir_lib


@pytest.fixture
def run(tmp_path):
    return workdir_lib.Workdir(tmp_path)


def lines(run):
    """Returns `{what: where}` of the table."""
    return dict(
        line.split(maxsplit=1) for line in report.table(run).split("\n")
    )


def test_new_folder_has_nothing_to_tell(run):
    assert report.table(run) == ""


def test_what_was_made_is_listed(run):
    run.checkpoints.mkdir()
    run.generator.mkdir(parents=True)
    assert lines(run) == {
        "checkpoints": str(run.checkpoints),
        "SavedModel": str(run.generator),
    }


def test_last_losses_are_told(run):
    for step in (10, 20):
        row = {"step": step, "d_loss": step / 8, "g_loss": -0.25}
        workdir_lib.append_row(run.train_log, row)
    losses = "20 updates, d_loss 2.500, g_loss -0.250"
    assert lines(run) == {"training": losses}


def test_empty_log_is_left_out(run):
    run.train_log.touch()
    run.scores.touch()
    assert report.table(run) == ""


def test_last_scores_stand_beside_those_of_real_pictures(run):
    for step, metric, value in (
        (10, "score", 1.0),
        (10, "real_score", 9.0),
        (20, "score", 2.0),
        (20, "share", 0.5),
    ):
        row = {"step": step, "metric": metric, "value": value}
        workdir_lib.append_row(run.scores, row)
    assert lines(run) == {
        "score": "2.000 (real pictures 9.000) at update 20",
        "share": "0.500 at update 20",
    }
