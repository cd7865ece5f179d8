import os
import re

import pytest

from sngan_tf import files
from sngan_tf.runs import summary
from sngan_tf.runs import workdir as workdir_lib


@pytest.fixture
def run(tmp_path):
    return workdir_lib.Workdir(tmp_path)


def lines(run):
    """Returns `{what: where}` of all that is said before the scores."""
    return dict(
        line.split(maxsplit=1)
        for line in summary.table(run).split("\n")
        if line
    )


def test_new_folder_has_nothing_to_tell(run):
    assert summary.table(run) == ""


def test_what_was_made_is_listed(run):
    run.checkpoints.mkdir()
    (version(run) / "saved_model.pb").touch()
    assert lines(run) == {
        "checkpoints": str(run.checkpoints),
        "SavedModel": str(version(run)),
        "serve": f"python main.py --mode=serve --workdir={run.path}",
    }


def version(run):
    folder = run.generator / "2"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def reach(run, step):
    run.checkpoints.mkdir(exist_ok=True)
    (run.checkpoints / f"step-{step}.index").touch()


def test_model_is_told_with_its_update(run):
    (version(run) / "saved_model.pb").touch()
    metadata = version(run) / "assets.extra" / "metadata.json"
    metadata.parent.mkdir()
    metadata.write_text('{"step": 300}')
    reach(run, 300)
    assert lines(run)["SavedModel"] == f"{version(run)}, of update 300"
    reach(run, 350)
    assert lines(run)["SavedModel"] == (
        f"{version(run)}, of update 300; the run is at 350"
    )


def test_what_is_to_be_opened_comes_last(run):
    add(run, record("distance", 20, 3.0))
    assert "\nreport" not in summary.table(run)
    reach(run, 20)
    (version(run) / "saved_model.pb").touch()
    (run.samples / "evolution.png").touch()
    run.report.touch()
    last = summary.table(workdir_lib.Workdir(run.path, "digits"))
    assert last.split("\n")[-4:] == [
        "",
        f"pictures  {run.path}/samples/evolution.png",
        f"report    {run.path}/report.html",
        f"serve     python main.py --mode=serve --workdir={run.path}",
    ]


def newest_sample(run):
    table = re.split(r" {2,}|\n", summary.table(run))
    return table[table.index("newest sample") + 1]


def test_newest_sample_is_told_with_its_update(run):
    run.samples.mkdir()
    reach(run, 350)
    names = (
        "last_step_00000350",
        "best_step_00000300",
        ".7-last_step_00000340",
    )
    for i, name in enumerate(names):
        path = run.samples / f"{name}_seed_00000000_count_9.png"
        path.touch()
        os.utime(path, (i, i))
    (run.samples / "step_00000350.png").touch()
    path = run.samples / f"{names[1]}_seed_00000000_count_9.png"
    expected = f"{path}, of update 300; the run is at 350"
    assert newest_sample(run) == expected


def test_sample_of_a_pretrained_generator_is_of_no_update(run):
    run.samples.mkdir()
    reach(run, 350)
    path = run.samples / "pretrained_digits_seed_00000000_count_9.png"
    path.touch()
    assert newest_sample(run) == str(path)


def test_last_losses_are_told(run):
    for step in (10, 20):
        row = {"step": step, "d_loss": step / 8, "g_loss": -0.25}
        files.append_row(run.train_log, row)
    losses = "20 updates, d_loss 2.500, g_loss -0.250"
    assert lines(run) == {"training": losses}


def test_collapse_is_told_while_it_lasts(run):
    files.append_row(run.spectral_norms, {"step": 2, "spectral_norms": {}})
    assert summary.table(run) == ""
    row = {"step": 4, "collapsed": ["conv_1", "dense"]}
    files.append_row(run.spectral_norms, row)
    expected = "collapsed spectra  conv_1, dense, at update 4"
    assert summary.table(run) == expected
    files.append_row(run.spectral_norms, {"step": 6, "collapsed": []})
    assert summary.table(run) == ""


def test_empty_log_is_left_out(run):
    run.train_log.touch()
    run.scores.touch()
    assert summary.table(run) == ""


def record(metric, step, value, **changes):
    row = {
        "step": step,
        "metric": metric,
        "value": value,
        "std": None,
        "protocol": "quick",
        "num_real": 1797,
        "num_fake": 5000,
        "reference": "digits/all",
        "features": "classifier-abc",
        "resize": "none",
    }
    return {**row, **changes}


def add(run, *rows, best=None):
    run.samples.mkdir()
    for row in rows:
        files.append_row(run.scores, row)
    if best is not None:
        run.best.mkdir(parents=True)
        (run.best / f"step-{best}.index").touch()


def tables(run):
    """Returns `{caption: [cells of each line]}` of the scores."""
    found = {}
    for block in summary.table(run).split("\n\n")[1:]:
        caption, *lines = block.split("\n")
        assert caption not in found
        found[caption] = [re.split(r"\s{2,}", line) for line in lines]
    return found


def only_table(run):
    (table,) = tables(run).values()
    return table


def test_last_scores_stand_with_their_counts(run):
    add(
        run,
        record("score", 10, 1.0),
        record("score", 20, 2.0, num_real=0),
        record("distance", 20, 0.5),
    )
    assert only_table(run) == [
        ["", "last, update 20", "generated / real", "real pictures"],
        ["score", "2", "5,000 / -"],
        ["distance", "0.5", "5,000 / 1,797"],
    ]


def test_best_stands_beside_the_last(run):
    add(
        run,
        record("distance", 10, 1.25),
        record("distance", 20, 3.0),
        record("distance", 30, 2.5),
        best=10,
    )
    assert only_table(run) == [
        [
            "",
            "last, update 30",
            "best, update 10",
            "generated / real",
            "real pictures",
        ],
        ["distance", "2.5", "1.25", "5,000 / 1,797"],
    ]


@pytest.mark.parametrize("best", [20, 10, None])
def test_best_that_is_the_last_or_not_scored_has_no_column(run, best):
    add(run, record("distance", 20, 3.0), best=best)
    assert only_table(run)[0][1:3] == ["last, update 20", "generated / real"]


def test_spread_stands_with_its_score(run):
    add(
        run,
        record("score", 10, 1.5, std=0.0625, num_fake=40),
        record("score", 20, 2.25, std=0.125, num_fake=40),
        best=10,
    )
    assert only_table(run)[1][:3] == ["score", "2.25 ± 0.125", "1.5 ± 0.0625"]


def test_real_pictures_have_a_column_with_their_counts(run):
    add(
        run,
        record("score", 20, 2.0),
        record("distance", 20, 3.0),
        record("real_score", 10, 8.0),
        record("real_score", 20, 9.5, std=0.25, num_fake=1790, num_real=0),
    )
    assert only_table(run)[1:] == [
        ["score", "2", "5,000 / 1,797", "9.5 ± 0.25 (1,790 / -)"],
        ["distance", "3", "5,000 / 1,797"],
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"protocol": "paper"},
        {"reference": "cifar10/test"},
        {"features": "inception-0"},
        {"resize": "bilinear to 9"},
    ],
)
def test_scores_of_other_measurements_are_never_mixed(run, change):
    add(
        run,
        record("distance", 10, 1.0),
        record("distance", 20, 2.0, **change),
        record("real_distance", 20, 0.25, **change),
        record("distance", 20, 3.0),
        record("real_distance", 20, 0.5),
    )
    captions = [
        "scores, protocol {protocol}: real pictures of {reference}, by "
        "{features} (resize: {resize})".format(**record("", 0, 0, **changes))
        for changes in ({}, change)
    ]
    found = tables(run)
    assert [*found] == captions
    for caption, value, real in zip(captions, "32", ("0.5", "0.25")):
        assert found[caption][1:] == [
            ["distance", value, "5,000 / 1,797", f"{real} (5,000 / 1,797)"]
        ]


def test_best_checkpoint_is_listed(run):
    add(run, record("distance", 20, 3.0), best=10)
    assert f"best checkpoint  {run.best}\n" in summary.table(run)


def test_columns_are_as_wide_as_what_stands_in_them(run):
    name = "intra_class_frechet_inception_distance"
    add(
        run,
        record("score", 20, 1234567.0, std=123456.0),
        record(name, 20, 12.5),
    )
    lines = summary.table(run).split("\n")[-3:]
    assert lines == [
        f"{' ' * 38}  last, update 20       generated / real  real pictures",
        f"score{' ' * 33}  1.235e+06 ± 1.23e+05  5,000 / 1,797",
        f"{name}  12.5                  5,000 / 1,797",
    ]


def test_training_is_told_by_the_update_that_it_reached(run):
    reach(run, 3)
    assert lines(run)["training"] == "3 updates"
    files.append_row(run.train_log, {"step": 2, "d_loss": 1.5, "g_loss": 0.5})
    assert lines(run)["training"] == "3 updates, d_loss 1.500, g_loss 0.500"
