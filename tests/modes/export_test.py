import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from sngan_tf import images as images_lib
from sngan_tf.errors import UserError
from sngan_tf.gan import sampler as sampler_lib
from sngan_tf.gan import serving
from sngan_tf.modes import evaluate
from sngan_tf.modes import export
from sngan_tf.modes import sample
from sngan_tf.modes import train
from sngan_tf.runs import workdir as workdir_lib


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Returns a folder for runs, and the GANs that were trained there."""
    return tmp_path_factory.mktemp("shared"), {}


def trained_once(config, shared, name, tmp_path):
    """Returns config, workdir and GAN, the workdir a copy for each test."""
    folder, gans = shared
    if name not in gans:
        gans[name] = train.train(config, workdir_lib.Workdir(folder / name))
    shutil.copytree(folder / name, tmp_path / "run")
    return config, workdir_lib.Workdir(tmp_path / "run"), gans[name]


@pytest.fixture
def trained(tiny_config, tmp_path, shared):
    tiny_config.sampling.seed = 3
    return trained_once(tiny_config, shared, "trained", tmp_path)


@pytest.mark.slow
def test_served_pictures_are_the_sampled_ones(trained):
    config, workdir, gan = trained
    grid_path = sample.sample(config, workdir)
    folder = export.export(config, workdir)
    assert folder == workdir.path / "export" / "generator" / "1"
    latents = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    signatures = tf.saved_model.load(str(folder)).signatures
    sampled = signatures["sample"](seed=tf.constant(3), count=tf.constant(9))
    served = signatures["serving_default"](latents=tf.constant(latents))
    assert {*sampled} == {*served} == {"images"}
    saved = np.load(grid_path.with_suffix(".npy"))
    assert saved.shape == (9, 8, 8, 1)
    assert saved.dtype == np.uint8
    np.testing.assert_array_equal(sampled["images"], saved)
    in_memory = images_lib.to_uint8(
        gan.sampling_generator(latents, training=False)
    )
    np.testing.assert_allclose(
        served["images"].numpy().astype(int),
        in_memory.numpy().astype(int),
        atol=1,
    )
    enlarged = saved.repeat(4, axis=1).repeat(4, axis=2)
    grid = images_lib.grid(enlarged, gap=2)
    picture = images_lib.read_png(grid_path)
    np.testing.assert_array_equal(picture[: len(grid), : len(grid[0])], grid)
    assert serving.read_metadata(folder)["step"] == 4


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left"),
        tf.errors.ResourceExhaustedError(None, None, "No space left"),
    ],
)
def test_full_disk_is_one_line(trained, monkeypatch, error):
    config, workdir, _ = trained

    def save(*args):
        raise error

    monkeypatch.setattr(serving, "save", save)
    message = f"^{workdir.exports} can't be written .*No space left.; what"
    with pytest.raises(UserError, match=message):
        export.export(config, workdir)


@pytest.mark.slow
def test_best_checkpoint_is_sampled_and_exported_if_asked(trained, add_best):
    config, workdir, gan = trained
    last = sampler_lib.Sampler(gan.sampling_generator).many(3, 9)
    best = sampler_lib.Sampler(add_best(config, workdir, 2).sampling_generator)
    best = best.many(3, 9)
    assert np.abs(last.astype(int) - best.astype(int)).max() > 10
    for which, pictures in (("best", best), ("last", last)):
        config.checkpoint = which
        path = sample.sample(config, workdir)
        np.testing.assert_array_equal(
            np.load(path.with_suffix(".npy")), pictures
        )
        model = tf.saved_model.load(str(export.export(config, workdir)))
        served = model.signatures["sample"](
            seed=tf.constant(3), count=tf.constant(9)
        )
        np.testing.assert_array_equal(served["images"], pictures)


@pytest.mark.parametrize("verb", [sample.sample, export.export])
def test_best_checkpoint_that_is_not_there_is_an_error(trained, verb):
    config, workdir, _ = trained
    config.checkpoint = "best"
    message = f"no checkpoint in {workdir.best};.*with `evaluate_every` set$"
    with pytest.raises(UserError, match=message):
        verb(config, workdir)


@pytest.mark.parametrize(
    "verb", [evaluate.evaluate, sample.sample, export.export]
)
def test_verbs_need_a_checkpoint_of_this_config(tiny_config, tmp_path, verb):
    workdir = workdir_lib.Workdir(tmp_path / "run")
    with pytest.raises(UserError, match="no checkpoint.*--mode=train"):
        verb(tiny_config, workdir)
    assert not workdir.path.exists()


def test_verbs_refuse_a_workdir_of_another_config(trained):
    config, workdir, _ = trained
    config.network.latent_dim = 8
    before = sorted(pathlib.Path(workdir.path).rglob("*"))
    for verb in (evaluate.evaluate, sample.sample, export.export):
        with pytest.raises(UserError, match="network.latent_dim"):
            verb(config, workdir)
    assert sorted(pathlib.Path(workdir.path).rglob("*")) == before


# Run where sngan_tf cannot be imported: -I leaves out the working directory,
# and the package is hidden in case it is installed.
SERVE_LABELS = """
import sys
sys.modules["sngan_tf"] = None
import numpy as np
import tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
sample, serve = (model.signatures[n] for n in ("sample", "serving_default"))
inputs = serve.structured_input_signature[1]
assert inputs["labels"].dtype == tf.int32
assert inputs["labels"].shape.as_list() == [None]
given = {name: tf.constant(x) for name, x in np.load(sys.argv[2]).items()}
images = sample(seed=tf.constant(3), count=tf.constant(12))
np.savez(
    sys.argv[3], sampled=images["images"], served=serve(**given)["images"]
)
"""


@pytest.fixture
def conditional(tiny_config, tmp_path, shared):
    tiny_config.data.image_size = 32
    tiny_config.network.name = "acgan_resnet"
    tiny_config.generator_batch_size = 6
    tiny_config.sampling.count = 12
    tiny_config.sampling.seed = 3
    tiny_config.updates = 2
    return trained_once(tiny_config, shared, "conditional", tmp_path)


@pytest.mark.slow
def test_labels_go_from_the_data_to_the_served_pictures(conditional, tmp_path):
    config, workdir, gan = conditional
    data = workdir.saved_config()["data"]
    assert data["num_classes"] == 10
    assert data["class_names"] == [*"0123456789"]
    grid_path = sample.sample(config, workdir)
    folder = export.export(config, workdir)
    metadata = serving.read_metadata(folder)
    assert metadata["class_names"] == data["class_names"]
    assert metadata["step"] == 2
    latents = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    labels = np.array([0, 9, 4, 4, 1], "int32")
    np.savez(tmp_path / "inputs.npz", latents=latents, labels=labels)
    arguments = [folder, tmp_path / "inputs.npz", tmp_path / "out.npz"]
    subprocess.run(
        [sys.executable, "-I", "-c", SERVE_LABELS, *map(str, arguments)],
        check=True,
        cwd=tmp_path,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
    )
    out = np.load(tmp_path / "out.npz")
    saved = np.load(grid_path.with_suffix(".npy"))
    np.testing.assert_array_equal(out["sampled"], saved)
    in_memory = images_lib.to_uint8(
        gan.sampling_generator([latents, labels], training=False)
    )
    np.testing.assert_allclose(
        out["served"].astype(int), in_memory.numpy().astype(int), atol=1
    )


def test_class_is_sampled_by_its_name(conditional):
    config, workdir, gan = conditional
    config.sampling.label = "7"
    path = sample.sample(config, workdir)
    assert path.stem.endswith("_label_7_count_12")
    np.testing.assert_array_equal(
        np.load(path.with_suffix(".npy")), gan.sampler.many(3, 12, 7)
    )


def test_label_beyond_the_classes_is_refused(conditional):
    config, workdir, _ = conditional
    config.sampling.label = 10
    with pytest.raises(UserError, match="less than 10.*sampling.label=10"):
        sample.sample(config, workdir)
