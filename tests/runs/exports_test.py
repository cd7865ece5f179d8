import os
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from sngan_tf import files
from sngan_tf.errors import UserError
from sngan_tf.gan import sampler as sampler_lib
from sngan_tf.gan import serving
from sngan_tf.runs import build
from sngan_tf.runs import exports
from sngan_tf.runs import formats
from sngan_tf.runs import workdir as workdir_lib

STEP = 300
BESIDE = {"README.md", "generator.keras", "discriminator.keras"}
# One who has TensorFlow and Keras alone does as the card says.
AS_THE_CARD_SAYS = """
import sys

sys.modules["sngan_tf"] = None
"""


@pytest.fixture
def run(tmp_path):
    return workdir_lib.Workdir(tmp_path / "run")


@pytest.fixture
def make(tiny_config, run):
    """Returns a function to a GAN of the run, with these fields."""

    def make(change=0.1, **values):
        tiny_config.update_from_flattened_dict(
            {"data.channels": 1, "data.num_classes": 10, **values}
        )
        run.prepare(tiny_config)
        gan = build.gan(tiny_config)
        random = np.random.default_rng(0)
        # New ones are gray. Variances stay positive.
        for weight in gan.sampling_generator.weights:
            weight.assign_add(random.uniform(-change, 2 * change, weight.shape))
        gan.step.assign(STEP)
        return gan

    return make


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def contents(folder):
    return {
        path: path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def test_versions_count_up_and_the_newest_are_kept(make, run):
    gan = make()
    for version in (1, 2, 3):
        path = exports.write(gan, run, "last", keep=2)
        assert path == run.generator / str(version)
    assert names(run.generator) == names(run.discriminator) == ["2", "3"]
    assert {*names(run.exports)} == BESIDE | {"generator", "discriminator"}
    assert serving.read_metadata(path)["step"] == STEP
    # A number is not given twice, whichever folder has it.
    (run.discriminator / "3").rename(run.discriminator / "7")
    assert exports.write(gan, run, "last", keep=1).name == "8"
    assert names(run.generator) == names(run.discriminator) == ["8"]


@pytest.mark.parametrize(
    ("where", "name"),
    [
        (serving, "save"),
        (serving, "save_discriminator"),
        (keras.Model, "save"),
    ],
)
def test_export_that_fails_leaves_what_was_there(
    make, run, monkeypatch, where, name
):
    gan = make()
    exports.write(gan, run, "last", keep=1)
    before = contents(run.path)

    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(where, name, fail)
        with pytest.raises(OSError, match="No space left"):
            exports.write(gan, run, "last", keep=1)
    assert contents(run.path) == before


def test_version_is_whole_and_the_last_to_be_seen(make, run, monkeypatch):
    seen, replace = [], os.replace

    def watched(source, target):
        seen.append(
            {
                found.relative_to(run.exports).as_posix()
                for found in run.exports.rglob("*")
            }
        )
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", watched)
    exports.write(make(), run, "last", keep=1)
    assert len(seen) > len(BESIDE) + 2
    for paths in seen:
        assert "generator/1" not in paths
    whole = {"saved_model.pb", "variables", "assets.extra/metadata.json"}
    assert seen[-1] >= BESIDE | {f"discriminator/1/{x}" for x in whole}
    assert all((run.generator / "1" / x).exists() for x in whole)


def test_model_from_before_versions_is_the_first(make, run):
    gan = make()
    gan.export(run.generator)
    before = contents(run.generator)
    assert serving.newest(run.generator) is None
    assert exports.write(gan, run, "last", keep=3).name == "2"
    assert names(run.generator) == ["1", "2"]
    assert contents(run.generator / "1") == {
        run.generator / "1" / path.relative_to(run.generator): content
        for path, content in before.items()
    }


@pytest.mark.parametrize("network", ["cnn", "resnet_projection"])
def test_keras_files_are_the_networks(make, run, network):
    gan = make(**{"network.name": network, "average_decay": 0.9})
    exports.write(gan, run, "last", keep=1)
    generator, discriminator = (
        keras.models.load_model(run.exports / f"{role}.keras")
        for role in ("generator", "discriminator")
    )
    pictures = sampler_lib.Sampler(generator, gan.num_classes).many(3, 5)
    assert pictures.std() > 5
    np.testing.assert_array_equal(pictures, gan.sampler.many(3, 5))
    images = np.random.default_rng(1).uniform(-1, 1, (5, 8, 8, 1))
    inputs = [images, np.arange(5)] if gan.num_classes else images
    np.testing.assert_allclose(
        discriminator(inputs, training=False),
        gan.discriminator(inputs, training=False),
        rtol=1e-4,
        atol=1e-5,
    )


# The card.


def code_of(card):
    return re.findall(r"```python\n(.*?)```", card, re.DOTALL)


def test_card_says_what_lies_beside_it(make, run):
    exports.write(make(), run, "last", keep=1)
    card = (run.exports / "README.md").read_text()
    assert card.startswith("---\nlicense: apache-2.0\nlibrary_name: keras\n")
    assert "300 generator updates, of the last checkpoint" in card
    assert "CC BY 4.0" in card
    for path in re.findall(r"[a-z]+(?:/\d+|\.keras)", "".join(code_of(card))):
        assert (run.exports / path).exists(), path
    assert "`latents` float32 `(batch, 4)`, and that" in card
    assert "`images` uint8 `(batch, 8, 8, 1)` to `logits`" in card
    assert "import sngan_tf" not in card
    assert "onnx" not in card


def test_card_of_conditional_networks_says_what_they_need(make, run):
    exports.write(make(**{"network.name": "acgan_resnet"}), run, "last", keep=1)
    card = (run.exports / "README.md").read_text()
    assert "`(batch, 4)` and `labels` int32 `(batch,)`, and that" in card
    # The discriminator of an auxiliary classifier takes none.
    assert "`images` uint8 `(batch, 8, 8, 1)` to `logits`" in card
    assert "\nimport sngan_tf  # " in card


@pytest.mark.slow
def test_card_says_how_to_load_them_without_this_package(make, run):
    exports.write(make(), run, "last", keep=1)
    blocks = code_of((run.exports / "README.md").read_text())
    checks = (
        "assert images.shape == (16, 8, 8, 1)\n"
        "assert generator.output_shape == (None, 8, 8, 1)\n"
        "assert discriminator.output_shape == (None, 1)\n"
    )
    subprocess.run(
        [sys.executable, "-c", AS_THE_CARD_SAYS + "".join(blocks) + checks],
        cwd=run.exports,
        env={**os.environ, "KERAS_BACKEND": "tensorflow"},
        check=True,
    )


# Other formats.


def onnx_pictures(path, **inputs):
    runtime = pytest.importorskip("onnxruntime", reason="ONNX is an extra")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(path, options)
    assert {x.name for x in session.get_inputs()} == {*inputs}
    (pictures,) = session.run(["images"], inputs)
    return pictures


def litert_pictures(path, **inputs):
    litert = pytest.importorskip(
        "ai_edge_litert.interpreter", reason="LiteRT is an extra"
    )
    run = litert.Interpreter(str(path), num_threads=1).get_signature_runner()
    assert {*run.get_input_details()} == {*inputs}
    singles = (
        run(**{name: value[i : i + 1] for name, value in inputs.items()})
        for i in range(len(inputs["latents"]))
    )
    return np.concatenate([single["images"] for single in singles])


# By the names of `formats.FORMATS`.
PICTURES = {"onnx": onnx_pictures, "litert": litert_pictures}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "change"), [("cnn", 0.1), ("resnet_projection", 0.01)]
)
@pytest.mark.usefixtures("real_networks")
def test_other_formats_make_the_pictures_of_the_saved_model(
    make, run, network, change
):
    pytest.importorskip("tf2onnx", reason="ONNX is an extra")
    gan = make(change, **{"network.name": network, "data.image_size": 32})
    version = exports.write(gan, run, "last", keep=1, names=[*PICTURES])
    random = np.random.default_rng(0)
    inputs = {"latents": random.normal(size=(3, 4)).astype("float32")}
    if gan.num_classes:
        inputs["labels"] = np.array([9, 0, 4], "int32")
    serve = tf.saved_model.load(str(version)).signatures["serving_default"]
    expected = serve(**{k: tf.constant(v) for k, v in inputs.items()})["images"]
    assert np.unique(expected).size > 50
    card = (run.exports / "README.md").read_text()
    for name, pictures_of in PICTURES.items():
        kind = formats.FORMATS[name]
        path = run.exports / f"generator{kind.suffix}"
        pictures = pictures_of(path, **inputs)
        assert pictures.dtype == np.uint8
        np.testing.assert_allclose(
            pictures.astype(int), expected.numpy().astype(int), atol=1
        )
        assert kind.words in card


def test_files_of_older_versions_are_deleted(make, run):
    gan = make()
    exports.write(gan, run, "last", keep=1, names=["litert"])
    assert (run.exports / "generator.tflite").exists()
    exports.write(gan, run, "last", keep=1)
    assert not (run.exports / "generator.tflite").exists()


def test_missing_converter_is_one_line(make, run, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    message = r"^The package tf2onnx is missing; .*\"sngan_tf\[onnx\]\""
    with pytest.raises(UserError, match=message):
        exports.write(make(), run, "last", keep=1, names=["onnx"])
    assert serving.newest(run.generator) is None


def test_other_precisions_are_refused(tiny_config):
    tiny_config.export.formats = "onnx,litert"
    build.check(tiny_config)
    tiny_config.precision = "mixed_bfloat16"
    with pytest.raises(UserError, match="`export.formats` must be empty.*16$"):
        build.check(tiny_config)
    tiny_config.export.formats = "onxx"
    with pytest.raises(UserError, match="must be empty, onnx,.*formats=onxx$"):
        build.check(tiny_config)
