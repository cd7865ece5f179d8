"""Disks that are full, folders in use and clocks that jump."""

import contextlib
import itertools
import json
import math
import pathlib
import subprocess
import sys
import time

import pytest
import small

from sngan_tf import files
from sngan_tf.errors import UserError
from sngan_tf.gan import sampler as sampler_lib
from sngan_tf.modes import sample
from sngan_tf.modes import train as train_lib
from sngan_tf.runs import checkpoint
from sngan_tf.runs import scoring
from sngan_tf.runs import workdir as workdir_lib

# What is kept of a run: the module and function that write it, the update of
# its arguments, the field that says how often, and what the error names.
WRITERS = {
    "checkpoint": (
        (checkpoint, "_write"),
        lambda gan, unfinished, directory, step: step,
        "checkpoint_every",
        "The checkpoint of update 4 can't be written .*{path}/checkpoints",
    ),
    "grid": (
        (sampler_lib, "save_grid"),
        lambda path, images: int(path.stem.removeprefix("step_")),
        "sample_every",
        "{path}/samples/step_00000004.png can't be written .*[Nn]o space",
    ),
    "log": (
        (files, "append_row"),
        lambda path, row: row["step"],
        "log_every",
        "{path}/train.jsonl can't be written .*[Nn]o space",
    ),
}


@pytest.fixture
def config(tiny_config, monkeypatch):
    return tiny_config


@pytest.fixture
def run(tmp_path):
    return workdir_lib.Workdir(tmp_path / "run")


@pytest.fixture
def small_disk(tmp_path):
    """Returns a folder on a disk of 2 MiB."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(path)]
    try:
        subprocess.run(mount, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", "") or error
        pytest.skip(f"no small disk can be mounted: {reason}")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill(ballast):
    """Writes a file that takes all that is left of a disk."""
    with contextlib.suppress(OSError), ballast.open("wb", 0) as file:
        while file.write(bytes(4096)):
            pass


def use_up_page(path):
    """Ends a file where its next byte needs more of a disk."""
    with path.open("a") as file:
        file.write("\n" * (-path.stat().st_size % 4096))


@pytest.mark.slow
def test_full_disk_is_one_line_and_loses_nothing(
    config, small_disk, monkeypatch
):
    run = workdir_lib.Workdir(small_disk / "run")
    ballast = small_disk / "ballast"
    config.updates = 5
    config.checkpoint_every = 2
    for name, (owner, step_of, every, message) in WRITERS.items():
        config.log_every = config.sample_every = 5
        config[every] = 2
        write = getattr(*owner)

        def write_on_a_full_disk(*args, step_of=step_of, write=write):
            if step_of(*args) == 4:
                use_up_page(run.train_log)
                fill(ballast)
            return write(*args)

        with monkeypatch.context() as patch:
            patch.setattr(*owner, write_on_a_full_disk)
            with pytest.raises(UserError, match=message.format(path=run.path)):
                train_lib.train(config, run)
        # Log and grid come before the checkpoint of the same update.
        assert checkpoint.latest_step(run.checkpoints) == 2, name
        assert not (run.checkpoints / ".unfinished").exists()
        ballast.unlink()
    gan = train_lib.train(config, run)
    assert int(gan.step.numpy()) == 5
    rows = files.read_rows(run.train_log)
    assert [row["step"] for row in rows] == [4]
    assert (run.samples / "step_00000005.png").exists()


@pytest.mark.slow
def test_scores_that_a_full_disk_cuts_short_are_made_later(
    config, small_disk, monkeypatch
):
    run = workdir_lib.Workdir(small_disk / "run")
    ballast = small_disk / "ballast"
    add_rows = files.add_rows

    def add_on_a_full_disk(path, rows):
        # There is space for the first row.
        size = len(json.dumps(rows[0]) + "\n")
        path.write_text("\n" * (4096 - size))
        fill(ballast)
        add_rows(path, rows)

    monkeypatch.setattr(scoring, "maker", lambda *args: small.Scorer)
    config.updates = config.evaluate_every = 2
    with monkeypatch.context() as patch:
        patch.setattr(files, "add_rows", add_on_a_full_disk)
        with pytest.raises(UserError, match="scores.jsonl can't be written"):
            train_lib.train(config, run)
    ballast.unlink()
    train_lib.train(config, run)
    metrics = [row["metric"] for row in files.read_rows(run.scores)]
    assert len(metrics) == len({*metrics}) == 3


# Two runs in one workdir.


def hold(run):
    """Returns a process that holds a workdir as a training run does."""
    code = (
        "import sys, time\n"
        "from sngan_tf.runs import workdir\n"
        "with workdir.Workdir(sys.argv[1]).locked():\n"
        "    print('locked', flush=True)\n"
        "    time.sleep(600)\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, str(run.path)],
        stdout=subprocess.PIPE,
        cwd=pathlib.Path(__file__).parents[2],
    )


@pytest.mark.slow
def test_workdir_is_that_of_one_live_process(config, run):
    config.updates = 2
    train_lib.train(config, run)
    files = {path: path.stat().st_mtime_ns for path in run.path.iterdir()}
    with hold(run) as other:
        try:
            assert other.stdout.readline() == b"locked\n"
            message = f"{run.path} is in use .*process {other.pid} on"
            with pytest.raises(UserError, match=message):
                train_lib.train(config, run)
            for path, modified in files.items():
                if path.name != ".lock":
                    assert path.stat().st_mtime_ns == modified, path
            # What only reads goes on.
            assert sample.sample(config, run).exists()
        finally:
            other.kill()
    gan = train_lib.train(config, run)
    assert int(gan.step.numpy()) == 2


# Clocks.


@pytest.mark.slow
def test_clock_may_jump(config, run, monkeypatch, capsys):
    now, jumps = time.time, itertools.cycle([0.0, 7200.0, -7200.0])
    monkeypatch.setattr(time, "time", lambda: now() + next(jumps))
    config.updates = 8
    config.keep_checkpoints = 1
    config.keep_checkpoints_hours = 1.0
    gan = train_lib.train(config, run)
    assert int(gan.step.numpy()) == 8
    rows = files.read_rows(run.train_log)
    assert [row["step"] for row in rows] == [2, 4, 6, 8]
    for row in rows:
        for speed in ("images_per_second", "steps_per_second"):
            assert 0 < row[speed] < math.inf
    shown = capsys.readouterr().err.split("\r")
    assert "8/8" in shown[-1]
    assert not any("-" in bar.partition("[")[2][:6] for bar in shown)
    # Of the older ones, written within the hour, the first is kept.
    steps = {path.stem for path in run.checkpoints.glob("*.index")}
    assert steps == {"step-2", "step-8"}
