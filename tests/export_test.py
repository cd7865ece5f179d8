import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from sngan_tf import evaluate
from sngan_tf import export
from sngan_tf import images as images_lib
from sngan_tf import sample
from sngan_tf import train
from sngan_tf import workdir as workdir_lib
from sngan_tf.errors import UserError

# Run where sngan_tf cannot be imported: -I leaves out the working directory,
# and the package is hidden in case it is installed.
SERVE = """
import sys
sys.modules["sngan_tf"] = None
import numpy as np
import tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
sample, serve = (model.signatures[n] for n in ("sample", "serving_default"))
images = sample(seed=tf.constant(3), count=tf.constant(9))
latents = np.load(sys.argv[2])
served = serve(latents=tf.constant(latents))
assert set(images) == set(served) == {"images"}
np.savez(sys.argv[3], sampled=images["images"], served=served["images"])
"""


@pytest.fixture
def trained(tiny_config, tmp_path):
    workdir = workdir_lib.Workdir(tmp_path / "run")
    tiny_config.sampling.seed = 3
    gan = train.train(tiny_config, workdir)
    return tiny_config, workdir, gan


def test_served_pictures_are_the_sampled_ones(trained, tmp_path):
    config, workdir, gan = trained
    grid_path = sample.sample(config, workdir)
    folder = export.export(config, workdir)
    assert folder == workdir.path / "export" / "generator"
    latents = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    np.save(tmp_path / "latents.npy", latents)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    subprocess.run(
        [
            sys.executable,
            "-I",
            "-c",
            SERVE,
            str(folder),
            str(tmp_path / "latents.npy"),
            str(tmp_path / "out.npz"),
        ],
        check=True,
        cwd=tmp_path,
        env=environment,
    )
    out = np.load(tmp_path / "out.npz")
    saved = np.load(grid_path.with_suffix(".npy"))
    assert saved.shape == (9, 8, 8, 1)
    assert saved.dtype == np.uint8
    np.testing.assert_array_equal(out["sampled"], saved)
    in_memory = images_lib.to_uint8(
        gan.sampling_generator(latents, training=False)
    )
    np.testing.assert_allclose(
        out["served"].astype(int), in_memory.numpy().astype(int), atol=1
    )
    enlarged = saved.repeat(4, axis=1).repeat(4, axis=2)
    np.testing.assert_array_equal(
        images_lib.read_png(grid_path), images_lib.grid(enlarged, gap=2)
    )


def test_export_replaces_an_older_one_whole(trained):
    config, workdir, _ = trained
    export.export(config, workdir)
    stale = workdir.generator / "stale"
    stale.touch()
    export.export(config, workdir)
    assert not stale.exists()
    assert [p.name for p in workdir.generator.parent.iterdir()] == ["generator"]


def test_samples_are_a_function_of_the_seed(trained):
    _, _, gan = trained
    sampler = sample.Sampler(gan.sampling_generator)
    np.testing.assert_array_equal(sampler.many(1, 6)[:4], sampler.many(1, 4))
    assert not np.array_equal(sampler.many(1, 4), sampler.many(2, 4))


def test_evaluate_appends_scores_of_generated_and_real(trained, capsys):
    config, workdir, _ = trained
    rows = evaluate.evaluate(config, workdir)
    assert rows == workdir_lib.read_rows(workdir.scores)
    evaluate.evaluate(config, workdir)
    assert rows == workdir_lib.read_rows(workdir.scores)
    values = {row["metric"]: row["value"] for row in rows}
    assert values.keys() == {
        "classifier_score",
        "frechet_classifier_distance",
        "smallest_class_share",
        "real_classifier_score",
        "real_frechet_classifier_distance",
    }
    assert 1 <= values["classifier_score"] <= 10
    assert 0 <= values["smallest_class_share"] <= 0.1
    assert (
        values["real_frechet_classifier_distance"]
        < values["frechet_classifier_distance"]
    )
    table = capsys.readouterr().out
    assert f"{values['classifier_score']:.3f}" in table
    assert "test accuracy" in table


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
