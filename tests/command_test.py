"""The command as a user types it, each case in a process of its own."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import types

import forked
import keras
import numpy as np
import pytest
from absl import flags
from PIL import Image

from sngan_tf import command
from sngan_tf import errors
from sngan_tf.runs import fields

OUTPUTS = ("stdout", "stderr")
ROOT = pathlib.Path(__file__).parents[1]
TINY = (
    "--config.data.image_size=8",
    "--config.data.batch_size=8",
    "--config.data.shift=1",
    "--config.network.width=0.04",
    "--config.updates=4",
    "--config.log_every=2",
    "--config.checkpoint_every=2",
    "--config.sample_every=2",
    "--config.evaluate_every=0",
    "--config.evaluation.samples=20",
    "--config.evaluation.classifier_updates=3",
)


def run(tmp_path, *arguments):
    return subprocess.run(
        [sys.executable, str(ROOT / "main.py"), *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "SNGAN_TF_CACHE": str(tmp_path / "cache")},
    )


def start_forked(tmp_path, *arguments, **kwargs):
    outputs = [tmp_path.parent / name for name in OUTPUTS]
    for path in outputs:
        path.unlink(missing_ok=True)
    environment = {"SNGAN_TF_CACHE": str(tmp_path / "cache")}
    return forked.start(tmp_path, arguments, *outputs, environment, **kwargs)


def finish(process, tmp_path):
    """Returns what `subprocess.run` does."""
    process.join()
    said = [(tmp_path.parent / name).read_text() for name in OUTPUTS]
    return subprocess.CompletedProcess((), process.exitcode, *said)


def run_forked(tmp_path, *arguments, **kwargs):
    return finish(start_forked(tmp_path, *arguments, **kwargs), tmp_path)


def error_of(process):
    """Returns the one line a failed command says."""
    lines = process.stderr.strip().splitlines()
    assert "Traceback" not in process.stderr
    ours = [line for line in lines if line.startswith("main.py: ")]
    assert ours == lines[-1:]
    return ours[0]


@pytest.mark.slow
def test_whole_job_without_mode(tmp_path):
    process = run_forked(tmp_path, *TINY, small_networks=True)
    assert process.returncode == 0, process.stderr
    workdir = tmp_path / "runs" / "digits"
    for path in (
        "config.json",
        "train.jsonl",
        "scores.jsonl",
        "checkpoints/step-4.index",
        "samples/step_00000004.png",
        "samples/last_step_00000004_seed_00000000_count_100.png",
        "export/generator/1/saved_model.pb",
        "export/discriminator/1/saved_model.pb",
        "export/README.md",
        "report.html",
    ):
        assert (workdir / path).is_file(), path
    config = json.loads((workdir / "config.json").read_text())
    assert config["data"]["name"] == "digits"
    assert config["network"]["width"] == 0.04
    table = process.stdout.splitlines()
    assert any(line.startswith("classifier_score") for line in table)
    assert any(line.startswith("scores, protocol quick") for line in table)
    assert any("runs/digits/export/generator/1" in line for line in table)
    assert table[-3:] == [
        "pictures  runs/digits/samples/evolution.png",
        "report    runs/digits/report.html",
        "serve     python main.py --mode=serve --workdir=runs/digits",
    ]
    with Image.open(workdir / "samples" / "evolution.png") as image:
        image.verify()
    # Made anew at the end, with the scores of evaluation.
    rows = map(json.loads, (workdir / "scores.jsonl").read_text().splitlines())
    (real,) = (x for x in rows if x["metric"] == "real_classifier_score")
    assert f"{real['value']:.4g}" in (workdir / "report.html").read_text()
    assert not (workdir / "spectra").exists()
    # The bar shows losses and speed.
    for word in ("4/4", "d_loss=", "g_loss=", "images_per_s="):
        assert word in process.stderr
    assert "has no effect" not in process.stderr
    # The second time, and with the config of the first.
    process = run_forked(tmp_path, "--mode=train", small_networks=True)
    assert process.returncode == 0, process.stderr
    assert "Trained for 4 updates already" in process.stderr
    assert json.loads((workdir / "config.json").read_text()) == config


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mode=trian"], "train|evaluate|sample|export|report|spectra"),
        (["train"], "Received: train"),
        (
            ["--mode=spectra", "--model=no/such.keras"],
            "`model` must be a .keras file. Received: --model=no/such.keras",
        ),
        (
            ["--mode=spectra", f"--model={ROOT}/README.md"],
            f"must be a .keras file. Received: --model={ROOT}/README.md",
        ),
        (
            ["--mode=sample", "--model=no/such.keras"],
            "`model` is for --mode=spectra alone. Received: "
            "--model=no/such.keras with --mode=sample",
        ),
        (
            ["--model=no/such.keras"],
            "`model` is for --mode=spectra alone. Received: "
            "--model=no/such.keras without --mode",
        ),
        (["--mode=serve", "--port=x"], "`port` must be a whole number, in [0"),
        (["--mode=serve", "--port=65536"], "65535]. Received: --port=65536"),
        (["--port=8501"], "`host` and `port` are for --mode=serve alone"),
        (["--mode=train", "--host=::1"], "are for --mode=serve alone"),
        (
            ["--workdir=a", "--mode=train", "--workdir=b"],
            "`workdir` must be given once, but for --mode=report. Received: "
            "--workdir=a --workdir=b",
        ),
        (
            ["--mode=score", "--real=folder:a"],
            "`real` and `fake` must both be folder:PATH or the name of a data "
            "set, for --mode=score. Received: --real=folder:a --fake=None",
        ),
        (
            ["--mode=evaluate", "--fake=cifar10"],
            "`real` and `fake` are for --mode=score alone. Received: "
            "--real=None --fake=cifar10",
        ),
        (["--wordkir=x"], "Unknown command line flag 'wordkir'"),
        (["--config=no/such.py"], "studies/width. Received: no/such.py"),
        (
            ["--config", "."],
            "config.json of a run, or one of cifar10_cnn, cifar10_resnet",
        ),
        (
            ["--config.updatess=3"],
            "`--config.updatess` is no field; near it: updates. Received: "
            "--config.updatess=3",
        ),
        (["--config.data.nmae", "x"], "near it: data.name, "),
        (["--noconfig.determinstic"], "near it: deterministic."),
        (["--config.beta_1=0"], "near it: optimizer.beta_1."),
        (["--config.foo=3"], "`--config.foo` is no field; see --fields."),
        (["--config.data.name.x=3"], "`--config.data.name.x` is no field"),
        (
            ["--config.updates=many"],
            "`updates` must be a whole number, positive. Received: "
            "--config.updates=many",
        ),
        (
            ["--config.generator_batch_size=1.5"],
            "`generator_batch_size` must be a whole number, positive.",
        ),
        (
            ["--config.optimizer.beta_1=x"],
            "`optimizer.beta_1` must be a number, in [0, 1). Received:",
        ),
        (
            ["--config.deterministic=perhaps"],
            "`deterministic` must be True or False. Received:",
        ),
        (
            [f"--config={ROOT}/configs/cifar10_cnn.py:mehtod=none"],
            "coefficient, loss, setting, network. Received: mehtod=none",
        ),
        ([f"--config={ROOT}/configs/digits.py:setting=G"], "A, B, C, D, E, F"),
    ],
)
def test_bad_flag_is_one_line(tmp_path, arguments, message):
    process = run(tmp_path, *arguments)
    assert process.returncode == 2
    assert message in error_of(process)
    assert not list(tmp_path.iterdir())


def test_fields_are_printed(tmp_path):
    process = run_forked(tmp_path, "--fields")
    assert process.returncode == 0
    assert process.stdout.strip() == fields.table()
    assert not list(tmp_path.iterdir())


def test_fields_are_printed_alone(monkeypatch, capfd):
    """Without what TensorFlow says when the rules import it."""

    def table():
        os.write(2, b"starting")
        return "the table"

    monkeypatch.setattr(fields, "table", table)
    monkeypatch.setattr(flags, "FLAGS", types.SimpleNamespace(fields=True))
    command._main(["main.py"])
    os.write(2, b"after")
    assert capfd.readouterr() == ("the table\n", "after")


@pytest.mark.parametrize("arguments", [[], ["--fields"]])
def test_other_backend_is_refused(tmp_path, monkeypatch, arguments):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    process = run(tmp_path, *arguments)
    assert process.returncode == 2
    message = "`KERAS_BACKEND` must be tensorflow.*Received: KERAS_BACKEND=jax$"
    assert re.search(message, error_of(process))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("given", "used"), [(None, "1"), ("0", "0")])
def test_onednn_is_on_unless_told_otherwise(monkeypatch, given, used):
    """Before TensorFlow is imported, as no flag has been looked at yet."""
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", given or "")
    if given is None:
        monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS")
    found = []

    def define(description):
        found.append(os.environ["TF_ENABLE_ONEDNN_OPTS"])
        raise errors.MissingExtra("stop here")

    monkeypatch.setattr(command.flags, "define", define)
    with pytest.raises(SystemExit):
        command.run()
    assert found == [used]


def test_backend_is_tensorflow_whatever_keras_has_by_default(monkeypatch):
    for given in (None, ""):
        monkeypatch.setenv("KERAS_BACKEND", "")
        if given is None:
            monkeypatch.delenv("KERAS_BACKEND")
        command._check_backend()
        assert os.environ["KERAS_BACKEND"] == "tensorflow"


@pytest.mark.parametrize(
    "missing",
    ["absl", "ml_collections", pytest.param("PIL", marks=pytest.mark.slow)],
)
def test_missing_package_is_named_with_its_extra(tmp_path, missing):
    script = f"""
import sys
sys.modules[{missing!r}] = None
sys.argv = ["sngan-tf", "--mode=train"]
from sngan_tf import command
command.run()
"""
    process = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 1
    assert process.stderr.strip().splitlines()[-1] == (
        f"sngan-tf: The package {missing} is missing; "
        'pip install "sngan_tf[train]" brings it'
    )
    assert "Traceback" not in process.stderr


def test_configs_have_names_and_arguments(tmp_path):
    process = run_forked(
        tmp_path,
        "--config=cifar10_cnn:method=none,setting=D",
        "--mode=export",
        "--workdir=somewhere",
    )
    # It was loaded and is right; nothing has been trained.
    assert error_of(process).endswith(
        "no checkpoint in somewhere/checkpoints; train first: python main.py "
        "--mode=train --config=cifar10_cnn:method=none,setting=D "
        "--workdir=somewhere"
    )
    studies = (ROOT / "configs" / "studies").glob("*.py")
    assert {*command.flags.shipped_configs()} == {
        *(path.stem for path in (ROOT / "configs").glob("*.py")),
        *(f"studies/{path.stem}" for path in studies),
    }


STUDY = "--config=studies/gradient:digits"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mode=study"], "`config` must be a study, such as"),
        ([STUDY], "`mode` must be study for the config of a study"),
        ([STUDY, "--mode=train"], "`mode` must be study"),
        (["--cells=1/2"], "`cells` and `draw` are for --mode=study alone"),
        (["--mode=train", "--draw"], "`cells` and `draw` are for --mode=study"),
        (["--mode=study", f"{STUDY}s"], "digits, full, or none. Received: di"),
    ],
)
def test_studies_are_for_their_mode(tmp_path, arguments, message):
    process = run_forked(tmp_path, *arguments)
    assert process.returncode == 2
    assert message in error_of(process)
    assert not list(tmp_path.iterdir())


def test_folder_that_tensorflow_can_not_name_is_one_line(tmp_path):
    name = os.fsdecode(b"caf\xe9")
    process = run_forked(tmp_path, "--mode=report", f"--workdir={name}")
    assert process.returncode == 2
    assert "`workdir` must be UTF-8" in error_of(process)


def test_study_is_drawn_from_its_table(tmp_path):
    """With the fields of its config to be overridden as any."""
    process = run_forked(
        tmp_path, "--mode=study", STUDY, "--cells=4/3", "--config.seed=3"
    )
    assert process.returncode == 1
    assert "Received: --cells=4/3" in error_of(process)
    results = tmp_path / "docs" / "results"
    results.mkdir(parents=True)
    source = next((ROOT / "docs" / "results").glob("gradient*.csv"))
    (results / "gradient_digits.csv").write_bytes(source.read_bytes())
    process = run_forked(tmp_path, "--mode=study", STUDY, "--draw")
    assert process.returncode == 0, process.stderr
    paths = process.stdout.split()
    assert "docs/results/gradient_digits_curves.png" in paths
    assert all((tmp_path / path).is_file() for path in paths)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workdir=mine"], "updates=-7"),
        (["--workdir", "mine", "--config.updates=-8"], "updates=-8"),
        (["--workdir=new", "--config=mine/config.json"], "updates=-7"),
        (["--workdir=mine", "--config.updates=3"], "--workdir=mine"),
        (["--workdir=mine", "--config=digits"], "=digits --workdir=mine"),
        (["--workdir=new"], "train first: python main.py --mode=train --w"),
        (["--workdir=damaged"], "damaged/config.json is missing or damaged"),
    ],
)
def test_run_has_its_own_config_unless_another_is_named(
    tmp_path, arguments, message
):
    for name, values in (("mine", {"updates": -7}), ("damaged", [])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(values))
    process = run_forked(tmp_path, "--mode=export", *arguments)
    assert message in error_of(process)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("x = 1", "get_config"),
        ("def get_config(:", "valid Python"),
        ("def get_config():\n  raise RuntimeError('odd')", "odd"),
        ("def get_config():\n  return 3", "lacks"),
        (
            "import ml_collections\n"
            "def get_config():\n  return ml_collections.ConfigDict()",
            "lacks",
        ),
    ],
)
def test_file_that_is_no_config_is_one_line(tmp_path, content, message):
    file = tmp_path / "my_config.py"
    file.write_text(content)
    process = run_forked(tmp_path, f"--config={file}")
    assert process.returncode in (1, 2)
    assert message in error_of(process)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config.updates=-1"], "`updates` must be positive"),
        (["--config.data.name=folder:nowhere"], "folder:nowhere"),
        (["--mode=export"], "no checkpoint"),
        (["--config.checkpoint=first"], "`checkpoint` must be one of last"),
        (
            ["--config.evaluation.protocol=fid"],
            "`evaluation.protocol` must be one of quick, paper, 50k.",
        ),
        (["--workdir=file/run"], "`workdir` must be a folder"),
    ],
)
def test_user_error_is_one_line(tmp_path, arguments, message):
    (tmp_path / "file").touch()
    process = run_forked(tmp_path, *TINY, *arguments)
    assert process.returncode == 1
    assert message in error_of(process)
    assert not (tmp_path / "runs").exists()


def test_runs_are_compared(tmp_path):
    for name in "ab":
        path = tmp_path / name / "config.json"
        path.parent.mkdir()
        path.write_text('{"updates": 7}')
    process = run_forked(
        tmp_path, "--mode=report", "--workdir=b", "--workdir", "a"
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout == "report  b/comparison.html\n"
    assert (tmp_path / "b" / "comparison.html").is_file()
    process = run_forked(tmp_path, "--mode=report", "--workdir=a")
    assert process.stdout == "report  a/report.html\n"
    assert {path.name for path in (tmp_path / "a").iterdir()} == {
        "config.json",
        "report.html",
    }


def test_folders_are_scored_without_a_run(tmp_path, inception):
    """At their own size, or that which is asked for."""
    folders = [tmp_path / "p", tmp_path / "q"]
    for seed, folder in enumerate(folders):
        for name in "ab":
            (folder / name).mkdir(parents=True)
            random = np.random.default_rng(seed)
            for i in range(5):
                image = random.integers(0, 256, (8, 8), np.uint8)
                Image.fromarray(image).save(folder / name / f"{i}.png")
    # That of a run there doesn't matter.
    damaged = tmp_path / "runs" / "digits" / "config.json"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("damaged")
    arguments = [
        "--mode=score",
        "--real=folder:p",
        "--fake=folder:q",
        "--config.evaluation.samples=8",
        "--config.evaluation.features=inception",
        f"--config.evaluation.inception={inception}",
    ]
    for further, workdir, size in (
        ([], "runs/score", 8),
        (["--config.data.image_size=16", "--workdir=mine"], "mine", 16),
        (["--config=default", "--workdir=mine"], "mine", 32),
    ):
        process = run_forked(tmp_path, *further, *arguments)
        assert process.returncode == 0, process.stderr
        said = process.stdout.splitlines()
        assert said[:2] == [f"scores  {workdir}/scores.jsonl", ""]
        pixels = f"{size} x {size} pixels"
        assert said[2].startswith(f"scores of folder:{folders[1]}, {pixels}, ")
        rows = (tmp_path / workdir / "scores.jsonl").read_text().splitlines()
        last = json.loads(rows[-1])
        assert last["image_size"] == size
        assert last["fake"] == f"folder:{folders[1]}"
        assert last["num_fake"] == 8


def test_model_without_run_or_config_is_measured(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.save(tmp_path / "any.keras")
    # That of a run there doesn't matter.
    damaged = tmp_path / "runs" / "digits" / "config.json"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("damaged")
    process = run_forked(tmp_path, "--mode=spectra", "--model=any.keras")
    assert process.returncode == 0, process.stderr
    said = process.stdout.splitlines()
    assert said[:2] == ["spectra  any_spectra", ""]
    assert said[2].startswith("spectra of the any, its Lipschitz constant ")
    assert said[3].startswith("kernel  ")
    assert len(said) == 5
    found = json.loads((tmp_path / "any_spectra/spectra.json").read_text())
    assert found["networks"]["any"]["lipschitz"]["lower"] > 0
    assert [*damaged.parent.iterdir()] == [damaged]


@pytest.mark.slow
def test_terminated_run_is_saved_and_goes_on(tmp_path):
    arguments = ["--mode=train", "--workdir=run", *TINY]
    checkpoints = tmp_path / "run" / "checkpoints"
    process = start_forked(
        tmp_path,
        *arguments,
        "--config.updates=1000000",
        "--config.sample_every=0",
        small_networks=True,
    )
    deadline = time.monotonic() + 300
    while not list(checkpoints.glob("*.index")):
        assert process.is_alive(), finish(process, tmp_path)
        assert time.monotonic() < deadline, process.kill()
        time.sleep(0.1)
    process.terminate()
    process = finish(process, tmp_path)
    assert process.returncode == 128 + signal.SIGTERM
    message = error_of(process)
    reached = max(
        int(path.stem.removeprefix("step-"))
        for path in checkpoints.glob("*.index")
    )
    assert message.endswith(
        f"SIGTERM: saved after update {reached}; run again to go on"
    )
    process = run_forked(
        tmp_path,
        *arguments,
        f"--config.updates={reached + 2}",
        small_networks=True,
    )
    assert process.returncode == 0, process.stderr
    assert (checkpoints / f"step-{reached + 2}.index").is_file()
