"""What the pages of docs/extend say, run as it stands, and what it rests on."""

import json
import os
import pathlib
import re
import shlex
import sys
import types

import forked
import keras
import numpy as np
import pytest
from absl import flags
from ml_collections import config_flags
from PIL import Image

import sngan_tf
from sngan_tf import data
from sngan_tf import files
from sngan_tf import networks
from sngan_tf.data import pictures as pictures_lib
from sngan_tf.errors import UserError
from sngan_tf.gan import methods
from sngan_tf.metrics import scorer
from sngan_tf.modes import serve
from sngan_tf.runs import build
from sngan_tf.runs import checkpoint
from sngan_tf.runs import extensions
from sngan_tf.runs import keeping
from sngan_tf.runs import loading
from sngan_tf.runs import workdir as workdir_lib

PAGES = pathlib.Path(__file__).parents[1] / "docs" / "extend"
FILE = re.compile(r"`(\w+\.py)`:\n\n```python\n(.*?)```", re.DOTALL)
COMMANDS = re.compile(r"```shell\n(.*?)```", re.DOTALL)
TINY = (
    "--config.data.image_size=8",
    "--config.data.batch_size=8",
    "--config.network.width=0.04",
    "--config.updates=4",
    "--config.log_every=2",
    "--config.checkpoint_every=2",
    "--config.sample_every=0",
    "--config.evaluate_every=0",
    "--config.evaluation.samples=20",
    "--config.evaluation.classifier_updates=3",
)


@pytest.fixture(autouse=True)
def tables(monkeypatch):
    """Leaves the tables as they were."""
    monkeypatch.setattr(extensions, "_LOADED", set())
    kept = {name: {**table} for name, (table, _) in extensions.TABLES.items()}
    modules = {*sys.modules}
    yield
    for name, (table, _) in extensions.TABLES.items():
        table.clear()
        table.update(kept[name])
    for name in {*sys.modules} - modules:
        if name.endswith(".py"):
            del sys.modules[name]


class Page:
    """A page whose file is in a folder, where its commands run."""

    def __init__(self, name, folder):
        text = (PAGES / f"{name}.md").read_text()
        ((name, code),) = FILE.findall(text)
        assert len([*filter(None, code.splitlines())]) < 40
        self.folder = folder
        self.file = folder / name
        self.file.write_text(code)
        lines = "".join(COMMANDS.findall(text)).replace("\\\n", "").splitlines()
        self.commands = [
            shlex.split(line)[2:]
            for line in lines
            if line.startswith("python main.py ")
        ]

    def run(self, number, *flags):
        """Runs a command with further flags, and returns what it says."""
        said = self.folder / "said.txt"
        process = forked.start(
            self.folder,
            (*self.commands[number], *flags),
            said,
            said,
            {"SNGAN_TF_CACHE": str(self.folder / "cache")},
        )
        process.join()
        assert process.exitcode == 0, said.read_text()
        return said.read_text()

    def load(self):
        """Loads the file in this process, and returns its module."""
        extensions.load(str(self.file))
        return sys.modules[str(self.file)]


@pytest.fixture
def page(request, tmp_path):
    return Page(request.param, tmp_path)


def of_page(name):
    return pytest.mark.parametrize("page", [name], indirect=True)


# The pages.


def largest_sums(layer, kernel):
    """Returns the sums of absolute weights into each output."""
    kernel = abs(keras.ops.convert_to_numpy(kernel))
    assert isinstance(layer, keras.layers.Conv2D | keras.layers.Dense)
    return kernel.reshape(-1, kernel.shape[-1]).sum(axis=0)


@pytest.mark.slow
@of_page("method")
def test_method_of_the_page_bounds_what_it_says(page):
    page.run(0, *TINY, "--config.coefficient=0.25")
    run = page.folder / "runs" / "infinity_norm"
    saved = json.loads((run / "config.json").read_text())
    assert saved["extensions"] == str(page.file)

    with pytest.raises(UserError, match="^`extensions` must be given .*json$"):
        sngan_tf.load_run(run)
    gan = sngan_tf.load_run(run, extensions=str(page.file))
    wrapped = [x for x in gan.discriminator.layers if hasattr(x, "kernels")]
    assert len(wrapped) == 8
    found = []
    for layer in wrapped:
        (kernel,) = layer.kernels
        found.append(largest_sums(layer.layer, kernel).max())
        expected = kernel * 0.25 / max(0.25, found[-1])
        np.testing.assert_allclose(
            layer.normalized_kernel(), expected, rtol=1e-5
        )
    assert max(found) > 0.25

    # What is exported needs neither the file nor the package.
    folded = keras.models.load_model(run / "export" / "discriminator.keras")
    assert "infinity_norm" not in folded.to_json()
    kernels = [x for x in folded.weights if len(x.shape) > 1]
    for layer, kernel in zip(wrapped, kernels, strict=True):
        np.testing.assert_allclose(kernel, layer.normalized_kernel(), rtol=1e-5)

    # And the run goes on by its workdir alone.
    page.run(1, "--config.updates=6")
    page.run(2)
    grid = "last_step_00000006_seed_00000000_count_100.png"
    assert (run / "samples" / grid).exists()


@pytest.mark.slow
@of_page("network")
def test_network_of_the_page_is_what_trains(page):
    page.run(0, "--mode=train", *TINY)
    run = page.folder / "runs" / "fastgan"
    gan = sngan_tf.load_run(run, extensions=str(page.file))
    maps = 5
    norm, conv = 4 * maps, 9 * maps**2
    assert gan.generator.count_params() == (
        129 * 16 * maps
        + 2 * (conv + norm)
        + (16 * maps**2 + maps)
        + (maps**2 + maps)
        + (9 * maps + 1)
    )
    wrapped = [x for x in gan.discriminator.layers if hasattr(x, "kernels")]
    assert [x.kernels[0].shape for x in wrapped] == [(4, 4, 1, 5), (80, 1)]
    images = gan.sampler.many(seed=0, count=4)
    assert images.shape == (4, 8, 8, 1)
    assert keeping.loads_alone(gan.sampling_generator)


@of_page("network")
def test_network_of_the_page_weighs_fine_maps_by_coarse_ones(page):
    page.load()
    generator, discriminator = networks.build(
        "fastgan", (16, 16, 3), latent_dim=4, width=1 / 32
    )
    latents = keras.random.normal((2, 4))
    assert abs(generator(latents)).numpy().max() <= 1
    assert discriminator(generator(latents)).shape == (2, 1)
    # Weights of 0 for all maps leave the last bias alone.
    *_, excitation, last = (
        x for x in generator.layers if isinstance(x, keras.layers.Conv2D)
    )
    assert excitation.kernel_size == (1, 1)
    excitation.kernel.assign(0 * excitation.kernel)
    excitation.bias.assign(excitation.bias - 1e4)
    last.bias.assign([0.1, 0.2, 0.3])
    expected = np.broadcast_to(np.tanh([0.1, 0.2, 0.3]), (2, 16, 16, 3))
    np.testing.assert_allclose(generator(latents), expected, rtol=1e-6)
    with pytest.raises(ValueError, match=r"^fastgan needs 8 to 64.*\(24, 24"):
        networks.build("fastgan", (24, 24, 3))


@pytest.mark.slow
@of_page("data_set")
def test_data_set_of_the_page_is_trained_on(page, monkeypatch):
    random = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 40), ("test", 10)):
        arrays[f"{split}_images"] = random.integers(
            0, 256, (count, 8, 8, 3), np.uint8
        )
        labels = np.arange(count, dtype=np.uint8) % 4
        arrays[f"{split}_labels"] = labels[:, np.newaxis]
    np.savez(page.folder / "bloodmnist.npz", **arrays)
    page.run(0, "--mode=train", *TINY, "--config.evaluate_every=4")
    run = page.folder / "runs" / "blood"
    saved = json.loads((run / "config.json").read_text())
    assert saved["data"]["channels"] == 3
    assert saved["data"]["class_names"] == ["0", "1", "2", "3"]
    (row, *_) = files.read_rows(run / "scores.jsonl")
    assert row["reference"] == "medmnist:bloodmnist.npz:train/all"

    page.load()
    monkeypatch.chdir(page.folder)
    for split in ("train", "test"):
        pictures = data.load(f"medmnist:bloodmnist.npz:{split}", 8)
        np.testing.assert_array_equal(
            pictures.images, arrays[f"{split}_images"]
        )
        np.testing.assert_array_equal(
            pictures.labels, arrays[f"{split}_labels"][:, 0]
        )
    match = "^`data.name` must name what can be read.*medmnist:no.npz:train "
    with pytest.raises(UserError, match=match):
        data.load("medmnist:no.npz:train", 8)
    assert not data.has_splits("medmnist:bloodmnist.npz:train")


def pair(*features):
    """Returns a `scorer.Pair` of real and generated features alone."""
    sets = (
        types.SimpleNamespace(features=np.asarray(x, np.float32))
        for x in features
    )
    return scorer.Pair(*sets, scored=None, splits=1)


@of_page("metric")
def test_metrics_of_the_page_are_density_and_coverage(page):
    module = page.load()
    line = pair([[x] for x in range(10)], [[0.5]])
    assert module.density(line) == (pytest.approx(4 / 5), None)
    assert module.coverage(line) == (pytest.approx(4 / 10), None)

    random = np.random.default_rng(0)
    real, fake = random.normal(size=(40, 3)), random.normal(size=(30, 3)) + 0.5
    inside = np.zeros((40, 30), bool)
    for i, x in enumerate(real):
        (*_, radius) = sorted(np.linalg.norm(x - other) for other in real)[:6]
        for j, y in enumerate(fake):
            inside[i, j] = np.linalg.norm(x - y) < radius
    found = pair(real, fake)
    assert module.density(found)[0] == pytest.approx(inside.sum() / (5 * 30))
    assert module.coverage(found)[0] == pytest.approx(inside.any(1).mean())


@pytest.mark.slow
@of_page("metric")
def test_metrics_of_the_page_are_recorded(page):
    page.run(0, "--mode=train", *TINY, "--config.evaluate_every=2")
    report = page.folder / "runs" / "digits" / "report.html"
    for name in ("density", "coverage"):
        assert f"classifier_{name} (higher is better)" in report.read_text()
    assert "classifier_density" in page.run(1)
    rows = files.read_rows(page.folder / "runs" / "digits" / "scores.jsonl")
    values = {row["metric"]: row["value"] for row in rows}
    assert 0 <= values["classifier_coverage"] <= 1
    assert 0 < values["real_classifier_coverage"] <= 1

    # Pictures that are the real ones themselves are in all balls.
    random = np.random.default_rng(0)
    for number in range(16):
        folder = page.folder / "real" / f"{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        image = random.integers(0, 256, (8, 8), np.uint8)
        Image.fromarray(image).save(folder / f"{number}.png")
    (page.folder / "fake").symlink_to("real")
    page.run(
        2,
        "--config.evaluation.classifier_updates=3",
        "--config.evaluation.samples=16",
    )
    rows = files.read_rows(page.folder / "runs" / "score" / "scores.jsonl")
    values = {row["metric"]: row["value"] for row in rows}
    assert values["classifier_coverage"] == 1


# What they rest on.

ROW = "from sngan_tf.gan import methods\nMETHODS = {'own': methods.Method()}\n"


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(ROW)
    return path


def test_path_becomes_absolute_and_rows_are_those_of_the_file(own, monkeypatch):
    monkeypatch.chdir(own.parent)
    assert extensions.load("own.py") == str(own)
    assert methods.get("own") is sys.modules[str(own)].METHODS["own"]
    assert extensions.load(" own.py, ") == str(own)
    assert extensions.load("") == ""


def test_loading_and_importing_again_changes_nothing(own, monkeypatch):
    extensions.load(str(own))
    row = methods.METHODS["own"]
    exec(own.read_text(), {})
    extensions.load(f"{own},{own}")
    assert methods.METHODS["own"] is row


def test_module_is_imported_by_its_name(own, monkeypatch):
    monkeypatch.syspath_prepend(own.parent)
    own.rename(own.with_name("own_rows.py"))
    assert extensions.load("own_rows") == "own_rows"
    assert "own" in methods.METHODS
    assert extensions.are_loaded("own_rows")
    assert not extensions.are_loaded("own_rows,other")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (None, r"can be imported, with a comma between.*FileNotFoundError"),
        ("x = 1\n1 / 0\n", r"can be imported.*line 2, ZeroDivisionError"),
        ("def", "can be imported.*SyntaxError"),
        (
            "x = 1",
            "one or more of METHODS, NETWORKS, .*which has none",
        ),
        ("METHODS = {'none': 1}", "new names alone.*none, which is in METHODS"),
        ("DATA_SETS = {'folder': len}", "new names alone.*folder, which is in"),
        ("METHODS = {'own': 1}", "a Method in each row.*own=1"),
        ("DATA_SETS = {'own': 1}", "a Callable in each row.*own=1"),
        ("METRICS = ['own']", r"a dict as METRICS.*METRICS=\['own'\]$"),
    ],
)
def test_wrong_file_is_refused_in_one_line(own, code, said):
    own.unlink()
    if code:
        own.write_text(code)
    before = {name: {*table} for name, (table, _) in extensions.TABLES.items()}
    match = rf"(?s)^`extensions` must .*{said}"
    with pytest.raises(UserError, match=match) as caught:
        extensions.load(str(own))
    assert str(own) in str(caught.value)
    assert "\n" not in str(caught.value)
    after = {name: {*table} for name, (table, _) in extensions.TABLES.items()}
    assert after == before
    assert not extensions.are_loaded(str(own))


def test_second_extension_must_not_take_a_name(own):
    other = own.with_name("other.py")
    other.write_text(ROW)
    extensions.load(str(own))
    with pytest.raises(UserError, match="other.py with own, which is in METH"):
        extensions.load(str(other))


def test_rules_know_what_extensions_bring(tiny_config, own):
    tiny_config.method = "own"
    with pytest.raises(UserError, match="^`method` must be one of none, "):
        build.check(tiny_config)
    tiny_config.extensions = os.path.relpath(own)
    build.check(tiny_config)
    assert tiny_config.extensions == str(own)


def test_serving_runs_no_extension(tiny_config, tmp_path, monkeypatch):
    tiny_config.extensions = str(tmp_path / "missing.py")
    tiny_config.method = "own"
    tiny_config.pretrained = "digits"
    served = []
    monkeypatch.setattr(serve.run, "run", lambda *args: served.append(args))
    serve.serve(tiny_config, workdir_lib.Workdir(tmp_path), "host", 1)
    assert [args[1:] for args in served] == [("host", 1)]


def test_run_that_another_starts_from_brings_no_code(
    tiny_config, own, tmp_path
):
    source = workdir_lib.Workdir(tmp_path / "source")
    tiny_config.data.channels = 1
    tiny_config.data.num_classes = 10
    tiny_config.extensions = str(own)
    source.prepare(tiny_config)
    gan = build.gan(tiny_config)
    config = tiny_config.copy_and_resolve_references()
    config.start_from = str(source.path)
    config.extensions = ""
    checkpoint.Checkpoints(gan, source.checkpoints, keep=1).save(1)
    loading.start(build.gan(config), config)
    assert "own" not in methods.METHODS


def test_digits_take_no_argument():
    with pytest.raises(UserError, match="digits without more.*digits:3$"):
        data.load("digits:3", 8)


@pytest.mark.parametrize(
    ("images", "labels", "names", "said"),
    [
        (np.zeros((2, 8, 8)), None, (), "uint8 images.*float64, .2, 8, 8.$"),
        (np.zeros((2, 8, 8, 2), np.uint8), None, (), r"uint8 im.*8, 8, 2.$"),
        (np.zeros((0, 8, 8), np.uint8), None, (), r"uint8 im.*.0, 8, 8.$"),
        (np.zeros((2, 8, 8), np.uint8), [0, 2], "ab", "one label.*, 2 names$"),
        (np.zeros((2, 8, 8), np.uint8), [0], "ab", r"one label.*shape .1,., 2"),
        (np.zeros((2, 8, 8), np.uint8), None, "ab", r"one label.*shape .., 2"),
    ],
)
def test_data_sets_that_are_none_are_refused(images, labels, names, said):
    data.DATA_SETS["own"] = lambda argument: (images, labels, names)
    with pytest.raises(UserError, match=f"^`data.name` must be of .*{said}"):
        data.load("own", 8)


def test_part_that_an_archive_lacks_is_said_in_one_line():
    data.DATA_SETS["own"] = lambda argument: {}[argument]
    with pytest.raises(UserError, match=r"can be read\. .*:part \('part'\)$"):
        data.load("own:part", 8)


def test_labels_are_those_of_the_function_though_images_are_kept(
    monkeypatch, tmp_path
):
    monkeypatch.setenv("SNGAN_TF_CACHE", str(tmp_path))
    monkeypatch.setattr(pictures_lib, "MEMORY_LIMIT", 0)
    images = np.zeros((2, 8, 8), np.uint8)
    for labels in ([0, 1], [1, 0]):
        made = (images, labels, "ab")
        data.DATA_SETS["own"] = lambda argument, made=made: made
        assert data.load("own", 8).labels.tolist() == labels


def test_config_can_be_the_extension_too(tmp_path, monkeypatch):
    path = tmp_path / "both.py"
    path.write_text(
        ROW + "from sngan_tf.runs import fields\n"
        "def get_config(text=''):\n"
        "    config = fields.defaults()\n"
        "    config.extensions = __file__\n"
        "    config.method = 'own'\n"
        "    return config\n"
    )
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=values)
    values(["main.py", f"--config={path}"])
    config = values.config
    build.check(config)
    assert config.extensions == str(path)
