import json
import os
import re
import subprocess
import sys
import zipfile

import keep_generator
import keras
import numpy as np
import pytest

from sngan_tf import files
from sngan_tf.errors import UserError
from sngan_tf.gan import sampler as sampler_lib
from sngan_tf.networks import pretrained
from sngan_tf.runs import build
from sngan_tf.runs import card
from sngan_tf.runs import checkpoint
from sngan_tf.runs import keeping
from sngan_tf.runs import workdir as workdir_lib

STEP = 1_234
# One who has not installed sngan_tf does as the card says.
AS_THE_CARD_SAYS = """
import sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "sngan_tf":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NotInstalled())
"""


@pytest.fixture
def save_run(tiny_config, tmp_path):
    """Returns a function that saves a run of random values: its GAN."""

    def save(which="checkpoints", **values):
        tiny_config.update_from_flattened_dict(
            {"data.channels": 1, "data.num_classes": 10, **values}
        )
        run = workdir_lib.Workdir(tmp_path / "run")
        run.prepare(tiny_config)
        gan = build.gan(tiny_config)
        random = np.random.default_rng(0)
        for weight in gan.weights:
            if weight.dtype == "float32":
                weight.assign(random.normal(size=weight.shape))
        for weight in gan.sampling_generator.weights:
            if "variance" in weight.path:
                weight.assign(random.uniform(0.5, 1.0, weight.shape))
        gan.step.assign(STEP)
        checkpoint.Checkpoints(gan, getattr(run, which), keep=1).save(STEP)
        return gan

    return save


@pytest.fixture
def run(tmp_path):
    return workdir_lib.Workdir(tmp_path / "run")


def loaded(folder):
    return [
        keras.models.load_model(folder / f"{role}.keras")
        for role in ("generator", "discriminator")
    ]


@pytest.mark.parametrize("average_decay", [0.0, 0.9])
@pytest.mark.parametrize("which", ["last", "best"])
def test_kept_networks_are_those_of_the_run(
    save_run, run, tmp_path, average_decay, which
):
    gan = save_run(
        "best" if which == "best" else "checkpoints",
        average_decay=average_decay,
    )
    keeping.keep(run.path, tmp_path / "kept", which)
    generator, discriminator = loaded(tmp_path / "kept")
    pictures = sampler_lib.Sampler(generator).many(3, 5)
    assert pictures.std() > 10
    np.testing.assert_array_equal(pictures, gan.sampler.many(3, 5))
    images = np.random.default_rng(1).uniform(-1, 1, (5, 8, 8, 1))
    np.testing.assert_allclose(
        discriminator(images, training=False),
        gan.discriminator(images, training=False),
        rtol=1e-4,
        atol=1e-5,
    )
    trainable = len(gan.generator.trainable_weights)
    assert len(generator.trainable_weights) == trainable > 0


def test_files_name_nothing_that_older_keras_lacks(save_run, run, tmp_path):
    """It refuses arguments that it doesn't know, of no effect or not."""
    save_run()
    keeping.keep(run.path, tmp_path / "kept", "last")
    for role in ("generator", "discriminator"):
        with zipfile.ZipFile(tmp_path / "kept" / f"{role}.keras") as kept:
            config = kept.read("config.json").decode()
        assert config.count('"class_name": "Dense"') == 1
        for newer in ("renorm", "input_axes"):
            assert newer not in config


def test_example_keeps_a_run_by_name(save_run, run, tmp_path, monkeypatch):
    gan = save_run()
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path / "weights")
    flags = ["--checkpoint=last", "--data=cifar10", "--note=Or nearly."]
    arguments = ["keep_generator.py", str(run.path), "mine", *flags]
    monkeypatch.setattr(sys, "argv", arguments)
    keep_generator.main()
    assert pretrained.names() == ["mine"]
    generator, _ = pretrained.pretrained("mine")
    np.testing.assert_array_equal(
        sampler_lib.Sampler(generator).many(3, 5), gan.sampler.many(3, 5)
    )
    about = (tmp_path / "weights" / "mine" / "README.md").read_text()
    assert "withdrew in 2020. Or nearly.\n" in about


@pytest.mark.slow
def test_card_says_how_to_load_them_without_this_package(
    save_run, run, tmp_path
):
    save_run()
    kept = tmp_path / "kept"
    keeping.keep(run.path, kept, "last")
    assert len([*kept.iterdir()]) == 3
    about = (kept / "README.md").read_text()
    (usage,) = re.findall(r"```python\n(.*?)```", about, re.DOTALL)
    checks = (
        "assert images.shape == (16, 8, 8, 1)\n"
        "assert pixels.dtype == 'uint8'\n"
        "assert logits.shape == (16, 1)\n"
    )
    subprocess.run(
        [sys.executable, "-c", AS_THE_CARD_SAYS + usage + checks],
        cwd=kept,
        env={**os.environ, "KERAS_BACKEND": "tensorflow"},
        check=True,
    )


@pytest.mark.parametrize(
    ("field", "value", "role"),
    [
        ("network.name", "resnet_projection", "generator"),
        ("method", "orthonormal", "discriminator"),
    ],
)
def test_networks_that_need_this_package_are_refused(
    save_run, run, tmp_path, field, value, role
):
    """Conditional batch normalization, and a regularizer of ours."""
    save_run(**{field: value, "loss": "hinge", "data.image_size": 32})
    message = f"The {role} must be of Keras's own layers.*run in {run.path}$"
    with pytest.raises(UserError, match=message):
        keeping.keep(run.path, tmp_path / "kept", "last")
    assert not (tmp_path / "kept").exists()


def test_what_was_kept_before_stays_on_an_error(save_run, run, tmp_path):
    save_run()
    kept = tmp_path / "kept"
    keeping.keep(run.path, kept, "last")
    before = {path: path.read_bytes() for path in kept.iterdir()}
    for arguments in ({"checkpoint": "best"}, {"data": "mnist"}):
        with pytest.raises(UserError):
            keeping.keep(run.path, kept, **{"checkpoint": "last", **arguments})
    assert {path: path.read_bytes() for path in kept.iterdir()} == before


# The card.


def row(metric, value, step=STEP, std=None, **measured):
    return {
        "step": step,
        "metric": metric,
        "value": value,
        "std": std,
        "protocol": "quick",
        "num_real": 0 if metric.endswith("score") else 1797,
        "num_fake": 5000,
        "reference": "folder:/home/someone/pictures/train/",
        "features": "classifier-0123",
        "resize": "none",
        **measured,
    }


@pytest.fixture
def about(tiny_config, run):
    """Returns a function to the card of a run with these fields and rows."""

    def make(rows=(), data="", note="", **values):
        tiny_config.update_from_flattened_dict(values)
        run.prepare(tiny_config)
        files.write_rows(run.scores, rows)
        return card.text(run, "best", STEP, "As you like.", data, note)

    return make


def front_matter(text):
    """Returns the front matter, read as the simplest YAML."""
    first, *lines = text.splitlines()
    end = lines.index("---")
    assert first == "---"
    found, key = {}, None
    for line in lines[:end]:
        plain = r"[a-z_]+: [\w/.-]+|[a-z_]+:( \[\])?|- \"[^\"]+\""
        assert re.fullmatch(plain, line), line
        if line.startswith("- "):
            found[key].append(json.loads(line[2:]))
        else:
            key, _, value = line.partition(":")
            found[key] = value.strip() if value.strip(" []") else []
    return found


def test_front_matter_has_the_fields_of_a_hub(about):
    rows = [row("classifier_score", 8.5), row("real_classifier_score", 9.9)]
    assert front_matter(about(rows)) == {
        "license": "apache-2.0",
        "library_name": "keras",
        "tags": ["image-generation", "gan", "spectral-normalization"],
        "datasets": ["digits"],
        "metrics": ["classifier_score"],
    }
    assert front_matter(about())["metrics"] == []


def test_scores_are_those_of_the_update_beside_real_pictures(about):
    text = about(
        [
            row("classifier_score", 7.25, step=1_000),
            row("classifier_score", 8.5, std=0.5),
            row("classifier_recall", 0.75),
            row("classifier_recall", 0.5, protocol="paper"),
            row("real_classifier_recall", 0.875, step=2_000, num_fake=898),
            row("real_classifier_recall", 0.625, protocol="50k"),
        ]
    )
    assert (
        "Scores, protocol quick: real pictures of folder:train, by "
        "classifier-0123 (resize: none).\n\n"
        "| metric | generated | generated / real | real pictures |\n"
        "|---|---|---|---|\n"
        "| `classifier_score` | 8.5 ± 0.5 | 5,000 / - |  |\n"
        "| `classifier_recall` | 0.75 | 5,000 / 1,797 | "
        "0.875 (898 / 1,797) |\n\n"
        "Scores, protocol paper: "
    ) in text
    assert "| `classifier_recall` | 0.5 | 5,000 / 1,797 |  |" in text
    assert "7.25" not in text
    assert "50k" not in text
    assert "no IS and no FID" in text


def test_card_without_scores_says_so(about):
    text = about()
    assert "## Scores\n\nThere are none.\n" in text
    assert "no IS and no FID" not in text


def test_every_field_that_makes_the_run_is_there(about):
    text = about(
        **{"seed": 5, "optimizer.beta_1": 0.25, "log_every": 3},
        start_from="/home/someone/runs/first/",
    )
    for line in (
        "start_from=first",
        "seed=5",
        "optimizer.beta_1=0.25",
        "data.name=digits",
        "network.width=0.03125",
    ):
        assert f"\n{line}\n" in text
    assert "log_every" not in text
    assert "1,234 generator updates, of the best checkpoint" in text
    assert "0.03125 of the width, 1,234 of 100,000 updates" in text


def test_terms_are_those_of_the_data(about):
    text = about(note="Of these, eights alone.")
    assert "CC BY 4.0" in text
    assert "licenses/by/4.0/). Of these, eights alone.\n" in text
    text = about(data="cifar10")
    assert front_matter(text)["datasets"] == ["uoft-cs/cifar10"]
    assert "Its authors state no licence" in text
    assert "# SN-GAN of CIFAR-10\n" in text


def test_terms_of_unknown_data_are_left_open(about):
    text = about(**{"data.name": "folder:/home/someone/my: cats"})
    assert front_matter(text)["license"] == "unknown"
    assert front_matter(text)["datasets"] == ["folder:my: cats"]
    assert "folder:my: cats, the terms of which are to be filled in.\n" in text
    assert "someone" not in text
    with pytest.raises(UserError, match="one of digits, cifar10.*data=cats$"):
        about(data="cats")
