import copy
import dataclasses
import functools

import keras
import pytest
import tensorflow as tf

from sngan_tf import errors
from sngan_tf import files
from sngan_tf import machine
from sngan_tf.errors import UserError
from sngan_tf.layers import spectral_estimates
from sngan_tf.modes import study as study_mode
from sngan_tf.modes import train as train_mode
from sngan_tf.runs import loading
from sngan_tf.runs import scoring
from sngan_tf.runs import workdir as workdir_lib
from sngan_tf.studies import Study
from sngan_tf.studies import figures
from sngan_tf.studies import grid
from sngan_tf.studies import measures
from sngan_tf.studies import results
from sngan_tf.studies import tables


@pytest.fixture
def small_study(tiny_config, monkeypatch):
    """A study of two cells with one seed, of the tiny config."""
    # The rate of this machine is taken each time.
    products = functools.partial(machine.products, size=4)
    monkeypatch.setattr(machine, "products", products)
    config = tiny_config
    config.evaluate_every = 2
    config.spectra.log_gradients = True
    config.spectra.log_values = True
    config.study = Study(
        name="some",
        cells=grid(
            seeds=1,
            method={n: {"method": n} for n in ("spectral_norm", "none")},
        ),
        measures=(
            measures.losses,
            measures.gradients,
            measures.singular_values,
            measures.spectral_norms,
            measures.bounds,
        ),
        figures={
            "curves": functools.partial(
                figures.curves, title="some", panel=None
            )
        },
        tables={
            "scores": functools.partial(tables.scores, factors=("method",))
        },
    )
    return config


@pytest.fixture
def run(tmp_path, small_study):
    """Runs the study in a folder; returns the rows."""
    page = tmp_path / "page.md"
    page.write_text("<!-- table some scores -->\n<!-- end -->\n")

    def rows(cells="", config=small_study):
        path = study_mode.study(
            config,
            tmp_path / "runs",
            cells,
            "python main.py --mode=study",
            tmp_path / "results",
            page,
        )
        assert path == tmp_path / "results" / "some.csv"
        return results.read(path)

    return rows


@pytest.fixture
def trained(monkeypatch):
    """Returns a list of the folders in which a training began."""
    folders = []
    train = train_mode.train

    def counted(config, workdir, *args):
        folders.append(workdir.path.name)
        return train(config, workdir, *args)

    monkeypatch.setattr(train_mode, "train", counted)
    return folders


@pytest.fixture
def unscored(monkeypatch):
    """For what is not about scores, which take the longest."""
    monkeypatch.setattr(scoring, "maker", lambda *args: None)


def of(rows, cell, metric):
    return [r for r in rows if (r["cell"], r["metric"]) == (cell, metric)]


@pytest.mark.slow
def test_rows_are_what_the_runs_have(run, tmp_path, trained):
    rows = run()
    assert trained == ["spectral_norm-0", "none-0"]
    workdir = workdir_lib.Workdir(tmp_path / "runs" / "spectral_norm-0")
    scores = files.read_rows(workdir.scores)
    for score in scores:
        (row,) = [
            r
            for r in of(rows, "spectral_norm-0", score["metric"])
            if r["step"] == score["step"]
        ]
        assert row["value"] == pytest.approx(score["value"], rel=1e-5)
        assert row["features"] == score["features"]
        assert row["num_fake"] == 50
        assert row["command"] == (
            "python main.py --mode=study --cells=spectral_norm-0"
        )
        assert row["gflops"] > 0
        assert row["seconds"] > 0
        assert (row["method"], row["seed"], row["updates"]) == (
            "spectral_norm",
            0,
            4,
        )
    assert {score["step"] for score in scores} == {2, 4}
    # Real pictures once, and nothing of them in a cell.
    (real,) = [r for r in rows if r["metric"] == "real_classifier_score"]
    assert real["cell"] == "real digits/all, 8 pixels"

    log = files.read_rows(workdir.train_log)
    strengths = of(rows, "spectral_norm-0", "lambda")[-1]
    assert strengths["step"] == 4
    assert strengths["note"] == "conv_1 dense"
    assert strengths["values"] == pytest.approx(
        [*log[-1]["lambdas"].values()], rel=1e-3
    )
    assert [r["step"] for r in of(rows, "none-0", "d_loss")] == [2, 4]
    gan = loading.load_run(workdir.path)
    estimates = [
        float(x) for x in spectral_estimates(gan.discriminator).values()
    ]
    found = of(rows, "spectral_norm-0", "estimate")[-1]["values"]
    assert found == pytest.approx(estimates, rel=1e-3)
    # Without a `u` there are none.
    assert of(rows, "none-0", "estimate") == []
    # The bound is of the very network: conv_1 and dense.
    (upper,) = of(rows, "spectral_norm-0", "lipschitz/upper")
    (lower,) = of(rows, "spectral_norm-0", "lipschitz/lower")
    norms = [
        of(rows, "spectral_norm-0", f"operator_norm/{name}/upper")[0]["value"]
        for name in ("conv_1", "dense")
    ]
    assert 0 < lower["value"] <= upper["value"]
    assert upper["value"] <= norms[0] * norms[1] * 1.001
    values = of(rows, "none-0", "singular_values/conv_1")[-1]["values"]
    norms = of(rows, "none-0", "spectral_norm")[-1]["values"]
    assert values[0] == pytest.approx(norms[0], rel=1e-3)
    assert len(values) == 4

    assert (tmp_path / "results" / "some_curves.png").is_file()
    table = (tmp_path / "page.md").read_text()
    assert "| `none` | " in table

    # What is done is not done again.
    assert run() == rows
    assert len(trained) == 2


@pytest.mark.slow
def test_stopped_cell_goes_on_where_it_was(
    run, small_study, monkeypatch, tmp_path
):
    small_study.study = dataclasses.replace(small_study.study, measures=())
    train = train_mode.train

    def stopped(config, *args):
        config = copy.deepcopy(config)
        config.updates = 2
        train(config, *args)
        raise errors.Interrupted(15)

    with monkeypatch.context() as patched:
        patched.setattr(train_mode, "train", stopped)
        with pytest.raises(errors.Interrupted):
            run("spectral_norm-0")
    rows = run("spectral_norm-0")
    steps = [r["step"] for r in of(rows, "spectral_norm-0", "classifier_score")]
    assert steps == [2, 4]
    run = workdir_lib.Workdir(tmp_path / "runs" / "spectral_norm-0")
    seconds = [row["seconds"] for row in files.read_rows(run.sessions)]
    assert len(seconds) == 2
    assert rows[-1]["seconds"] == pytest.approx(sum(seconds), rel=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("unscored")
def test_cell_that_diverges_is_a_row_and_the_grid_goes_on(
    run, small_study, monkeypatch
):
    method = small_study.study.cells[0].overrides
    method["optimizer.learning_rate"] = 1e38
    rows = run()
    (ended,) = of(rows, "spectral_norm-0", "failed")
    assert ended["value"] == 1
    assert "not finite" in ended["note"] or "nan" in ended["note"]
    assert of(rows, "none-0", "failed")[0]["value"] == 0
    assert of(run(), "spectral_norm-0", "failed") == [ended]


@pytest.mark.usefixtures("unscored")
def test_cell_that_breaks_is_told_of_and_has_no_rows(run, monkeypatch):
    def broken(config, workdir, *args):
        if workdir.path.name == "spectral_norm-0":
            raise OSError("no space")
        raise errors.Diverged("d_loss is nan at update 3")

    monkeypatch.setattr(train_mode, "train", broken)
    with pytest.raises(UserError, match="1 of 2 cells.*spectral_norm-0: no sp"):
        run()
    rows = run("none-0")
    assert of(rows, "spectral_norm-0", "failed") == []
    assert of(rows, "none-0", "failed")[0]["note"].startswith("d_loss is nan")


@pytest.mark.usefixtures("unscored")
def test_cell_of_another_process_is_passed_over(run, monkeypatch):
    def busy(*args):
        raise errors.InUse("in use")

    monkeypatch.setattr(train_mode, "train", busy)
    assert of(run(), "none-0", "failed") == []


def test_wrong_cell_stops_all_before_the_first(run, small_study, trained):
    small_study.study.cells[1].overrides["updates"] = -1
    with pytest.raises(UserError, match="none-0: `updates` must be positive"):
        run()
    assert trained == []


@pytest.mark.usefixtures("unscored")
def test_graphs_of_cells_that_are_done_are_forgotten(run, monkeypatch):
    functions = []

    def traced(*args):
        call = tf.function(lambda x: x + len(functions))
        call(tf.zeros(()))
        functions.append(call)
        raise errors.Diverged("d_loss is nan at update 3")

    forgotten = []
    monkeypatch.setattr(train_mode, "train", traced)
    monkeypatch.setattr(
        keras.backend, "clear_session", lambda: forgotten.append(1)
    )
    run()
    assert len(forgotten) == len(functions) == 2
