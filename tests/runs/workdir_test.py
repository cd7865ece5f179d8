import json

import pytest

from sngan_tf import files
from sngan_tf.errors import UserError
from sngan_tf.runs import fields
from sngan_tf.runs import workdir as workdir_lib


@pytest.fixture
def config():
    return fields.defaults()


@pytest.fixture
def run(tmp_path, config):
    """Returns the workdir of a run that has a checkpoint."""
    run = workdir_lib.Workdir(tmp_path / "run")
    run.prepare(config)
    add_checkpoint(run)
    return run


def add_checkpoint(run):
    run.checkpoints.mkdir()
    (run.checkpoints / "step-10.index").touch()


def changed(config, field, value):
    """Returns the config as dicts, one field of it changed."""
    result = section = config.to_dict()
    *names, key = field.split(".")
    for name in names:
        section = section[name]
    section[key] = value
    return result


def test_config_is_saved_whole(run, config):
    assert run.saved_config() == json.loads(config.to_json())
    assert run.config.read_text().endswith("}\n")
    assert {path.name for path in run.path.iterdir()} == {
        "config.json",
        "checkpoints",
    }


def test_equal_config_passes(run, config):
    run.check(config)


@pytest.mark.parametrize(
    ("field", "value", "values"),
    [
        ("seed", 5, r"saved 0, given 5"),
        ("method", "none", "saved 'spectral_norm', given 'none'"),
        ("data.batch_size", 32, "saved 64, given 32"),
        ("network.width", 0.5, r"saved 1\.0, given 0\.5"),
        ("optimizer.learning_rate", 1e-3, r"saved 0\.0002, given 0\.001"),
        ("data.new", 1, "saved None, given 1"),
    ],
)
def test_other_run_is_refused(run, config, field, value, values):
    with pytest.raises(UserError, match=rf"Differing: {field} \({values}\)$"):
        run.check(changed(config, field, value))


def test_every_difference_is_named(run, config):
    config.seed, config.loss = 5, "wasserstein"
    with pytest.raises(UserError, match="Differing: loss .*, seed "):
        run.check(config)


@pytest.mark.parametrize(
    "field",
    [
        "updates",
        "deterministic",
        "distribution",
        "data.directory",
        "log_every",
        "checkpoint_every",
        "sample_every",
        "evaluate_every",
        "keep_checkpoints",
        "sampling.seed",
        "sampling.count",
        "checkpoint",
        "evaluation.protocol",
        "evaluation.best",
        "evaluation.samples",
        "evaluation.classifier_updates",
    ],
)
def test_free_field_may_change(run, config, field):
    run.check(changed(config, field, "another"))


@pytest.mark.parametrize("field", ["coefficient", "optimizer.decay_from"])
def test_run_from_before_a_field_goes_on_with_its_default(run, config, field):
    saved = run.saved_config()
    *sections, key = field.split(".")
    section = saved
    for name in sections:
        section = section[name]
    default = section.pop(key)
    run.config.write_text(json.dumps(saved))
    run.check(config)
    with pytest.raises(UserError, match=rf"{field} \(saved {default}, given 9"):
        run.check(changed(config, field, 9))
    run.prepare(config)
    assert run.saved_config() == json.loads(config.to_json())


@pytest.mark.parametrize("average_decay", [0.0, 0.9])
def test_run_from_before_the_warmup_goes_on_without_it(
    run, config, average_decay
):
    config.average_decay = average_decay
    saved = config.to_dict()
    del saved["average_warmup"]
    run.config.write_text(json.dumps(saved))
    assert not run.own_config().average_warmup
    run.check(run.own_config())
    if average_decay:
        with pytest.raises(UserError, match="average_warmup .saved False"):
            run.check(config)
    else:
        run.check(config)


def test_nothing_is_refused_without_a_checkpoint(tmp_path, config):
    run = workdir_lib.Workdir(tmp_path)
    run.check(config)
    run.prepare(config)
    config.seed = 5
    run.check(config)


@pytest.mark.parametrize("channels", [1, 3])
def test_unresolved_channels_are_the_saved_ones(tmp_path, config, channels):
    run = workdir_lib.Workdir(tmp_path)
    config.data.channels = channels
    run.prepare(config)
    add_checkpoint(run)
    config.data.channels = 0
    run.check(config)
    config.data.channels = 4 - channels
    with pytest.raises(UserError, match=f"data.channels .saved {channels}"):
        run.check(config)


def test_unresolved_class_names_are_the_saved_ones(tmp_path, config):
    run = workdir_lib.Workdir(tmp_path)
    config.data.class_names = ("ant", "bee")
    run.prepare(config)
    add_checkpoint(run)
    assert run.resolved()["data.class_names"] == ["ant", "bee"]
    config.data.class_names = ()
    run.check(config)
    config.update_from_flattened_dict(run.resolved())
    assert config.data.class_names == ("ant", "bee")


@pytest.mark.parametrize("content", [None, "", '{"seed": 0', "\0\0\0", "[0]"])
def test_missing_or_damaged_config_is_named(run, config, content):
    run.config.unlink()
    if content is not None:
        run.config.write_text(content)
    with pytest.raises(UserError, match=f"{run.config} is missing or damaged"):
        run.check(config)


@pytest.mark.parametrize("below", ["", "new", "new/folder"])
def test_file_in_the_way_is_an_error(tmp_path, config, below):
    (tmp_path / "file").touch()
    run = workdir_lib.Workdir(tmp_path / "file" / below)
    for refuse in (run.check_writable, lambda: run.prepare(config)):
        with pytest.raises(UserError, match=f"`workdir`.*{run.path}"):
            refuse()


def test_new_folder_is_writable(tmp_path):
    run = workdir_lib.Workdir(tmp_path / "new" / "folder")
    run.check_writable()
    assert not run.path.exists()


def test_rows_round_trip(tmp_path):
    rows = [{"step": 1, "value": 0.1}, {"step": 2, "name": "ü"}]
    for row in rows:
        files.append_row(tmp_path / "rows.jsonl", row)
    assert files.read_rows(tmp_path / "rows.jsonl") == rows


@pytest.mark.parametrize("half", ["{", '{"step": 3', '{"step": 3, "a": "b'])
def test_half_written_row_is_left_out(tmp_path, half):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n' + half)
    assert files.read_rows(path) == [{"step": 1}, {"step": 2}]


def test_half_written_row_spoils_no_later_one(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"step": 1}\n{"st')
    for step in (2, 3):
        files.append_row(path, {"step": step})
    assert [row["step"] for row in files.read_rows(path)] == [1, 2, 3]


def test_rows_after_a_step_are_forgotten(tmp_path):
    run = workdir_lib.Workdir(tmp_path)
    run.forget_after(0)
    assert not [*tmp_path.iterdir()]
    rows = [{"step": step} for step in (10, 20, 30)]
    logs = {run.train_log, run.spectral_norms}
    for path in logs:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run.forget_after(20)
    for path in logs:
        assert files.read_rows(path) == rows[:2]
    assert {*tmp_path.iterdir()} == logs


def test_failed_write_leaves_the_old_text(tmp_path, monkeypatch):
    path = tmp_path / "config.json"
    files.write_text(path, "old")

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(UserError, match=f"{path} .*disk full"):
        files.write_text(path, "new")
    assert path.read_text() == "old"


def test_missing_file_has_no_rows(tmp_path):
    assert files.read_rows(tmp_path / "missing.jsonl") == []


def test_scores_are_added_once(tmp_path):
    path = tmp_path / "scores.jsonl"
    rows = [{"step": 1, "value": 0.1}, {"step": 2, "value": 0.1}]
    files.add_rows(path, rows[:1])
    files.add_rows(path, rows)
    assert files.read_rows(path) == rows


def test_best_checkpoint_alone_is_none_to_go_on_from(tmp_path):
    run = workdir_lib.Workdir(tmp_path)
    run.best.mkdir(parents=True)
    (run.best / "step-1.index").touch()
    assert not run.has_checkpoint()


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("/venv/bin/sngan-tf", "sngan-tf"),
        ("main.py", "python main.py"),
        ("tests", "python main.py"),
    ],
)
def test_command_is_that_which_was_started(
    tmp_path, monkeypatch, program, words
):
    monkeypatch.setattr("sys.argv", [program])
    monkeypatch.chdir(tmp_path)
    run = workdir_lib.Workdir("my run", "digits")
    mode = f"{words} --mode=serve"
    assert run.command("serve") == f"{mode} --config=digits '--workdir=my run'"
    # Once it is trained it knows its own config.
    run.path.mkdir()
    add_checkpoint(run)
    assert run.command("serve") == f"{mode} '--workdir=my run'"
