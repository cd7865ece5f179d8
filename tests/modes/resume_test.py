"""Runs that are killed and go on, against one that never was."""

import os
import pathlib
import signal
import threading

import forked
import ml_collections
import numpy as np
import pytest
import small
import tensorflow as tf

from sngan_tf import files
from sngan_tf import images as images_lib
from sngan_tf import networks
from sngan_tf.modes import train as train_lib
from sngan_tf.runs import build
from sngan_tf.runs import callbacks
from sngan_tf.runs import checkpoint as checkpoint_lib
from sngan_tf.runs import scoring
from sngan_tf.runs import workdir as workdir_lib

SEED = 20
# What is counted between one kill and the next, and how far at most: not as
# far as the end of the run.
MOMENTS = {
    "before a file is moved": 6,
    "after a row": 3,
    "half-way in a checkpoint": 2,
}


@pytest.fixture
def quick_config(tiny_config, monkeypatch):
    monkeypatch.setattr(scoring, "maker", lambda *args: small.Scorer)
    return tiny_config


# In processes of their own.


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def kill_at(moment, count):
    """Kills this process before, after or half-way in what is counted."""
    calls = iter(range(1, 1000))
    replace, append_row = os.replace, files.append_row
    write = tf.train.Checkpoint.write

    def replace_or_die(*args):
        if next(calls) == count:
            kill()
        replace(*args)

    def append_row_and_die(*args):
        append_row(*args)
        if next(calls) == count:
            kill()

    def write_half_and_die(self, path):
        write(self, path)
        if next(calls) == count:
            for file in pathlib.Path(path).parent.iterdir():
                file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
            kill()

    if moment == "before a file is moved":
        files.os.replace = checkpoint_lib.os.replace = replace_or_die
    elif moment == "after a row":
        files.append_row = append_row_and_die
    elif moment == "half-way in a checkpoint":
        tf.train.Checkpoint.write = write_half_and_die
    elif moment == "seconds":
        # From the first update on; most of a process is spent before it.
        end = callbacks.StopOnNonFinite.on_train_batch_end

        def end_and_count(self, batch, logs=None):
            end(self, batch, logs)
            if next(calls) == 1:
                threading.Timer(count, kill).start()

        callbacks.StopOnNonFinite.on_train_batch_end = end_and_count


def train_until_killed(config, path, moment, count):
    """Trains to the bit, here or as far as the moment."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    networks.build = small.build
    scoring.maker = lambda *args: small.Scorer
    kill_at(moment, count)
    train_lib.train(
        ml_collections.ConfigDict(config), workdir_lib.Workdir(path)
    )


@pytest.fixture(scope="module")
def process():
    """Returns a function that trains in a new process: its exit code."""
    # TensorFlow is imported once, for all of them.
    context = forked.context()

    def train(config, path, moment=None, count=0):
        process = context.Process(
            target=train_until_killed,
            args=(config.to_dict(), path, moment, count),
        )
        process.start()
        process.join()
        return process.exitcode

    return train


def tensors(path):
    reader = tf.train.load_checkpoint(str(path))
    return {
        name: reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
        if name != "_CHECKPOINTABLE_OBJECT_GRAPH"
    }


def rows_of(path):
    rows = files.read_rows(path)
    for row in rows:
        row.pop("images_per_second", None)
        row.pop("steps_per_second", None)
    return rows


@pytest.mark.slow
def test_killed_run_ends_bit_identical(quick_config, tmp_path, process):
    config = quick_config
    config.deterministic = True
    config.discriminator_steps = 2
    config.average_decay = 0.9
    config.method = "sr_gan_dynamic"
    config.spectra.log_gradients = True
    config.updates = 18
    config.log_every = 3
    config.checkpoint_every = 4
    config.sample_every = 5
    config.evaluate_every = 4
    whole, torn = (workdir_lib.Workdir(tmp_path / n) for n in ("whole", "torn"))
    assert process(config, whole.path) == 0

    random = np.random.default_rng(SEED)
    for moment in random.permutation([*MOMENTS]):
        count = random.integers(1, MOMENTS[moment], endpoint=True)
        code = process(config, torn.path, moment, count)
        assert code == -signal.SIGKILL, (SEED, moment, count)
    # The run may end before.
    code = process(config, torn.path, "seconds", random.uniform(0, 0.3))
    assert code in (0, -signal.SIGKILL), SEED
    for left in torn.path.rglob(".*"):
        os.utime(left, (0, 0))  # As if long ago.
    assert process(config, torn.path) == 0, SEED

    for folder in ("best", "checkpoints"):
        one, other = (getattr(run, folder) for run in (whole, torn))
        found = sorted(path.name for path in one.glob("step-*"))
        assert found == sorted(path.name for path in other.glob("step-*"))
        newest = f"step-{checkpoint_lib.latest_step(one)}"
        expected, given = tensors(one / newest), tensors(other / newest)
        assert expected.keys() == given.keys()
        for name, value in expected.items():
            np.testing.assert_array_equal(
                value, given[name], f"{name}, seed {SEED}", strict=True
            )
    assert expected["gan/step/.ATTRIBUTES/VARIABLE_VALUE"] == 18
    for part in (
        "/u_0/",
        "average_generator",
        "_optimizer/_variables",
        "records/",
    ):
        assert any(part in name for name in expected), part
    kept = whole.best_scores.relative_to(whole.path)
    norms = "spectral_norms.jsonl"
    for name in ("train.jsonl", norms, "scores.jsonl", kept):
        assert rows_of(whole.path / name) == rows_of(torn.path / name), SEED
    # What was not moved is deleted in time.
    assert [*torn.path.rglob(".*")] == [torn.path / ".lock"]
    pictures = sorted(path.name for path in whole.samples.glob("*.png"))
    assert len(pictures) == 6
    for name in pictures:
        expected, given = (run.samples / name for run in (whole, torn))
        assert expected.read_bytes() == given.read_bytes(), (name, SEED)


@pytest.mark.slow
def test_callbacks_of_the_method_go_on_with_their_records(
    quick_config, tmp_path, monkeypatch
):
    kept = []
    make = build.method_callbacks
    monkeypatch.setattr(
        build,
        "method_callbacks",
        lambda *args: kept.append(make(*args)) or kept[-1],
    )
    config, workdir = quick_config, workdir_lib.Workdir(tmp_path)
    config.method = "sr_gan_dynamic"
    config.sample_every = 0
    # The sixth edits nothing.
    for config.updates in (5, 6):
        train_lib.train(config, workdir)
    (first,), (second,) = kept
    assert first is not second
    for one, other in zip(first.variables, second.variables, strict=True):
        assert np.array(one)[0] == 1.0
        np.testing.assert_array_equal(one, other)


# Pictures that are read again in each epoch.


@pytest.mark.slow
def test_streaming_run_goes_on_to_the_weights_of_one_in_memory(
    quick_config, tmp_path
):
    config, folder = quick_config, tmp_path / "pictures"
    noise = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1), np.uint8)
    for i, image in enumerate(noise):
        images_lib.save_png(folder / f"{i}.png", image)
    config.data.name = f"folder:{folder}"
    config.updates = 6
    whole = train_lib.train(config, workdir_lib.Workdir(tmp_path / "whole"))
    config.data.streaming = True
    # In the second epoch, and in the third.
    for updates in (3, 6):
        config.updates = updates
        parts = train_lib.train(config, workdir_lib.Workdir(tmp_path / "parts"))
    for a, b in zip(whole.weights, parts.weights, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=a.path)
