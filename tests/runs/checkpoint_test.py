import logging
import os

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from sngan_tf.errors import UserError
from sngan_tf.gan import model as gan_lib
from sngan_tf.layers import SpectralNormalization
from sngan_tf.runs import checkpoint


def build_gan(wrapper=SpectralNormalization):
    """A small one with all that the networks of the paper have to save."""
    generator = keras.Sequential(
        [keras.Input((2,)), layers.Dense(3), layers.BatchNormalization()]
    )
    discriminator = keras.Sequential(
        [keras.Input((3,)), wrapper(layers.Dense(1))]
    )
    gan = gan_lib.GAN(generator, discriminator, average_decay=0.5)
    gan.compile(
        generator_optimizer=keras.optimizers.Adam(),
        discriminator_optimizer=keras.optimizers.Adam(),
    )
    return gan


@pytest.fixture(scope="module")
def gan():
    return build_gan()


def variables(gan):
    return [
        gan.step,
        *gan.generator.variables,
        *gan.discriminator.variables,
        *gan.average_generator.variables,
        *gan.generator_optimizer.variables,
        *gan.discriminator_optimizer.variables,
    ]


def values(gan):
    return {
        f"{i} {variable.path}": keras.ops.convert_to_numpy(variable)
        for i, variable in enumerate(variables(gan))
    }


def fill(gan, step):
    """Gives every variable values that belong to the step alone."""
    random = np.random.default_rng(step)
    for variable in variables(gan):
        variable.assign(random.integers(-99, 99, variable.shape) / 4)
    gan.step.assign(step)


def assert_holds(gan, step):
    restored = values(gan)
    fill(gan, step)
    for name, value in values(gan).items():
        np.testing.assert_array_equal(restored[name], value, err_msg=name)


def save(gan, directory, *steps, keep=9, keep_hours=0.0):
    """Returns the `Checkpoints` that saved these steps."""
    checkpoints = checkpoint.Checkpoints(gan, directory, keep, keep_hours)
    for step in steps:
        fill(gan, step)
        checkpoints.save(step)
    return checkpoints


def restore(gan, directory):
    fill(gan, 0)
    return checkpoint.Checkpoints(gan, directory, keep=9).restore()


def steps_in(directory):
    """Steps of which there are both files."""
    return [
        {int(path.stem.split("-")[1]) for path in directory.glob(pattern)}
        for pattern in ("step-*.index", "step-*.data-00000-of-00001")
    ]


def test_new_gan_gets_every_variable_back(gan, tmp_path):
    # In numbers 10 is after 9, in letters it isn't.
    save(gan, tmp_path, 8, 9, 10)
    other = build_gan()
    assert checkpoint.Checkpoints(other, tmp_path, keep=9).restore() == 10
    assert_holds(other, 10)


def test_keras_own_normalization_gets_every_variable_back(tmp_path):
    save(build_gan(layers.SpectralNormalization), tmp_path, 3)
    other = build_gan(layers.SpectralNormalization)
    assert any("vector_u" in name for name in values(other))
    assert checkpoint.Checkpoints(other, tmp_path, keep=9).restore() == 3
    assert_holds(other, 3)


def test_without_checkpoint_nothing_changes(gan, tmp_path):
    fill(gan, 5)
    missing = tmp_path / "missing"
    assert checkpoint.Checkpoints(gan, missing, keep=9).restore() == 0
    assert_holds(gan, 5)


def test_only_the_newest_are_kept(gan, tmp_path):
    save(gan, tmp_path, 1, 2, 3, keep=2)
    assert steps_in(tmp_path) == [{2, 3}, {2, 3}]
    # Another process goes on.
    save(gan, tmp_path, 4, keep=2)
    assert steps_in(tmp_path) == [{3, 4}, {3, 4}]


def truncate(content):
    return content[: len(content) // 2]


def flip_bit(content):
    middle = len(content) // 2
    flipped = bytes([content[middle] ^ 1])
    return content[:middle] + flipped + content[middle + 1 :]


@pytest.mark.parametrize("suffix", ["index", "data-00000-of-00001"])
@pytest.mark.parametrize(
    "damage", [truncate, flip_bit, lambda content: b""], ids=["half", "bit", ""]
)
def test_damaged_checkpoint_is_passed_over(
    gan, tmp_path, caplog, suffix, damage
):
    save(gan, tmp_path, 1, 2)
    path = tmp_path / f"step-2.{suffix}"
    path.write_bytes(damage(path.read_bytes()))
    with caplog.at_level(logging.WARNING):
        assert restore(gan, tmp_path) == 1
    assert f"{tmp_path}/step-2 is damaged, passed over" in caplog.text
    assert "step-1" not in caplog.text
    assert_holds(gan, 1)


def test_lost_data_file_is_passed_over(gan, tmp_path, caplog):
    save(gan, tmp_path, 1, 2)
    (tmp_path / "step-2.data-00000-of-00001").unlink()
    assert restore(gan, tmp_path) == 1
    assert f"{tmp_path}/step-2 is damaged" in caplog.text


@pytest.mark.parametrize(
    "content", [None, "", "no state", 'model_checkpoint_path: "none"']
)
def test_list_of_checkpoints_is_not_needed(gan, tmp_path, content):
    save(gan, tmp_path, 1, 2)
    (tmp_path / "checkpoint").unlink()
    if content is not None:
        (tmp_path / "checkpoint").write_text(content)
    assert restore(gan, tmp_path) == 2
    assert_holds(gan, 2)
    save(gan, tmp_path, 3)
    assert restore(gan, tmp_path) == 3


def test_no_readable_checkpoint_is_an_error(gan, tmp_path):
    save(gan, tmp_path, 1, 2)
    for path in tmp_path.glob("*.index"):
        path.write_bytes(truncate(path.read_bytes()))
    match = f"No checkpoint in {tmp_path} .* newest is {tmp_path}/step-2"
    with pytest.raises(UserError, match=match):
        restore(gan, tmp_path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(
    "weight_of",
    [
        lambda gan: gan.generator.weights[0],
        lambda gan: gan.discriminator.weights[-1],
        lambda gan: gan.average_generator.weights[3],
    ],
    ids=["generator", "discriminator", "average"],
)
def test_weight_that_is_not_finite_is_refused(gan, tmp_path, value, weight_of):
    checkpoints = save(gan, tmp_path, 1)
    before = sorted(path.name for path in tmp_path.iterdir())
    weight = weight_of(gan)
    broken = keras.ops.convert_to_numpy(weight).copy()
    broken.flat[-1] = value
    weight.assign(broken)
    with pytest.raises(
        UserError, match=f"{weight.path} is not finite after update 2"
    ):
        checkpoints.save(2)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert restore(gan, tmp_path) == 1


def test_latest_step_is_that_of_the_newest_index(tmp_path):
    assert checkpoint.latest_step(tmp_path / "missing") == 0
    assert checkpoint.latest_step(tmp_path) == 0
    names = ("step-9.index", "step-10.index", "step-11.data", "best-12.index")
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "step-99.index").touch()
    assert checkpoint.latest_step(tmp_path) == 10


@pytest.mark.parametrize(
    ("hours", "kept"),
    [
        ((0, 1, 2, 3, 4, 5), {1, 3, 5, 6}),
        ((0, 1.5, 2.1, 3, 9, 9), {1, 3, 5, 6}),
        ((0, 0, 0, 0, 0, 0), {1, 6}),
        # The clock was set back by a day, and by an hour.
        ((0, 2, -24, -23, -22, 5), {1, 2, 3, 5, 6}),
        ((0, 2, 1, 3, 5, 5), {1, 2, 5, 6}),
    ],
)
def test_older_ones_are_kept_hours_apart(gan, tmp_path, hours, kept):
    for step, hour in enumerate(hours, start=1):
        save(gan, tmp_path, step, keep=1, keep_hours=2.0)
        time = 1e9 + 3600 * hour
        for path in tmp_path.glob(f"step-{step}.*"):
            os.utime(path, (time, time))
    assert steps_in(tmp_path) == [kept, kept]
    state = tf.train.get_checkpoint_state(tmp_path)
    assert state.all_model_checkpoint_paths == [
        f"{tmp_path}/step-{step}" for step in sorted(kept)
    ]


def test_best_is_none_of_the_old_ones(gan, tmp_path):
    save(gan, tmp_path / "best", 1, keep=1)
    before = {p.name: p.read_bytes() for p in (tmp_path / "best").iterdir()}
    save(gan, tmp_path, 2, 3, 4, keep=1)
    after = {p.name: p.read_bytes() for p in (tmp_path / "best").iterdir()}
    assert before == after
    assert restore(gan, tmp_path / "best") == 1


class Killed(BaseException):
    """Ends a process where it stands, but for what the system does then."""


@pytest.mark.parametrize("files", [0, 1], ids=["none", "data"])
def test_half_written_checkpoint_is_none(gan, tmp_path, monkeypatch, files):
    """After `files` of the two were moved to their place."""
    save(gan, tmp_path, 1)
    replace, left = os.replace, [None] * files

    def replace_or_die(*args):
        if not left:
            raise Killed
        left.pop()
        replace(*args)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.os, "replace", replace_or_die)
        patch.setattr(checkpoint.shutil, "rmtree", lambda *args, **kwargs: None)
        with pytest.raises(Killed):
            save(gan, tmp_path, 2)
    unfinished = tmp_path / ".unfinished"
    assert (unfinished / "step-2.index").exists()
    assert checkpoint.latest_step(tmp_path) == 1
    assert tf.train.latest_checkpoint(tmp_path) == f"{tmp_path}/step-1"
    assert restore(gan, tmp_path) == 1
    assert_holds(gan, 1)
    save(gan, tmp_path, 2)
    assert not unfinished.exists()
    assert restore(gan, tmp_path) == 2
    assert_holds(gan, 2)
    assert steps_in(tmp_path) == [{1, 2}, {1, 2}]


def test_damaged_newer_ones_push_out_no_good_one(gan, tmp_path):
    save(gan, tmp_path, 8, 10)
    index = tmp_path / "step-10.index"
    index.write_bytes(truncate(index.read_bytes()))
    assert restore(gan, tmp_path) == 8
    save(gan, tmp_path, 9, keep=1)
    assert steps_in(tmp_path) == [{9, 10}, {9, 10}]
    assert tf.train.latest_checkpoint(tmp_path) == f"{tmp_path}/step-9"
    assert restore(gan, tmp_path) == 9
    save(gan, tmp_path, 10, keep=1)
    assert steps_in(tmp_path) == [{10}, {10}]
    assert restore(gan, tmp_path) == 10
    assert_holds(gan, 10)


def test_tensorflow_finds_the_newest(gan, tmp_path):
    save(gan, tmp_path, 9, 10)
    assert tf.train.latest_checkpoint(tmp_path) == f"{tmp_path}/step-10"


@pytest.mark.slow
def test_flipped_bit_is_seen_or_changes_nothing(gan, tmp_path):
    save(gan, tmp_path, 1, 2)
    random = np.random.default_rng(0)
    seen = 0
    for suffix in ("index", "data-00000-of-00001"):
        path = tmp_path / f"step-2.{suffix}"
        content = path.read_bytes()
        for bit in random.choice(8 * len(content), 30, replace=False):
            flipped = bytearray(content)
            flipped[bit // 8] ^= 1 << bit % 8
            path.write_bytes(flipped)
            step = restore(gan, tmp_path)
            assert step in (1, 2), (suffix, bit)
            seen += step == 1
            assert_holds(gan, step)
        path.write_bytes(content)
    assert seen > 30
