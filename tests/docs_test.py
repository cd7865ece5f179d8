"""The code and the commands of README and docs, as they stand there."""

import argparse
import fnmatch
import importlib
import json
import pathlib
import re
import shlex

import forked
import keras
import numpy as np
import pytest
import served
import small
from PIL import Image

from configs import image_folder
from sngan_tf import errors
from sngan_tf import files
from sngan_tf import flags
from sngan_tf import networks
from sngan_tf.certificates import rules
from sngan_tf.gan import losses
from sngan_tf.gan import methods
from sngan_tf.modes import train
from sngan_tf.runs import fields
from sngan_tf.runs import workdir

DOCS = pathlib.Path(__file__).parents[1] / "docs"
README = DOCS.parent / "README.md"
PAGES = sorted([*DOCS.parent.glob("*.md"), *DOCS.rglob("*.md")])
LINK = re.compile(r"\]\(([^)\s:]+)\)")


def blocks(page, language="python"):
    """Returns the code blocks of a page, in a language."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


def smaller(text, sizes):
    """Returns text with other sizes, each of which must stand there."""
    for given, small_one in sizes.items():
        assert given in text, given
        text = text.replace(given, small_one)
    return text


LAYER = blocks(DOCS / "layer.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    missing = {
        link
        for link in LINK.findall(page.read_text())
        if not (page.parent / link.partition("#")[0]).exists()
        # Networks that a source distribution leaves out; see MANIFEST.in.
        and not link.endswith(".keras")
    }
    assert missing == set()


@pytest.mark.parametrize("number", range(len(LAYER)))
def test_examples_of_the_layer_run_as_they_stand(number, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keras.Sequential([keras.Input((2,))]).save("model.keras")
    names = {}
    exec(LAYER[number], names)
    if "bounded" in names:
        kinds = [type(layer).__name__ for layer in names["part"].layers]
        assert kinds == ["SpectralNormalization", "Flatten", "Dense"]
        kinds = [type(layer).__name__ for layer in names["plain"].layers]
        assert kinds == ["Conv2D", "Flatten", "Dense"]
    for model, norms, bound in (
        ("features", ["conv", "conv"], 0.95),
        ("classifier", ["conv", "conv"], 1.0),
        ("value", ["matrix"], 1.0),
    ):
        if model in names:
            found = [x for x in names[model].layers if hasattr(x, "at_most")]
            assert [layer.norm for layer in found] == norms
            assert all(x.at_most and x.bound == bound for x in found)
    if "theirs" in names:
        assert names["ours"] < 1e-6
        assert names["theirs"] == pytest.approx(0.36, abs=0.005)
    if "Bilinear" in names:
        layer = names["layer"]
        assert layer(keras.ops.ones((2, 3))).shape == (2, 8, 4)
        (u,) = (v for v in layer.variables if v.name == "u")
        assert u.shape == (8,)


def test_certificates_run_as_they_stand(monkeypatch):
    monkeypatch.setattr(rules, "_TAUGHT", {})
    measured, taught = blocks(DOCS / "certificates.md")
    names = {}
    exec(measured, names)
    lower, upper, how = names["norms"]["logits"]
    assert 0 < lower < upper < lower * (1 + 1e-6)
    assert how == "svd"
    bounds = names["bounds"]
    assert 0 < bounds.lower < bounds.upper
    product = np.prod([layer.bound for layer in bounds.layers])
    assert bounds.upper == pytest.approx(product)
    assert names["radii"].shape == (5,)
    assert names["capacity"] > bounds.upper
    exec(taught, names)
    assert names["sngan_tf"].lipschitz_bounds(
        names["model"], ascent_steps=0
    ).upper == pytest.approx(1)


@pytest.fixture
def small_networks(monkeypatch, shared_cache, tmp_path):
    """Blocks run with networks of 8 pixels, in a folder of their own."""
    monkeypatch.setattr(
        networks,
        "build",
        lambda name, shape, method="spectral_norm": small.build(
            name, shape, latent_dim=128, width=1.0, method=method
        ),
    )
    monkeypatch.setenv("SNGAN_TF_CACHE", str(shared_cache))
    monkeypatch.chdir(tmp_path)


# Of 8 pixels, and two updates.
SIZES = {
    "steps_per_epoch=1000": "steps_per_epoch=2",
    '("digits", 32)': '("digits", 8)',
    "(32, 32, 1)": "(8, 8, 1)",
}


@pytest.mark.slow
def test_readme_runs_as_it_stands(small_networks):
    layer, gan, pretrained = blocks(README)
    names = {}
    exec(layer, names)
    assert type(names["plain"]).__name__ == "Dense"
    exec(smaller(gan, SIZES), names)
    assert int(names["gan"].step.value) == 2
    assert names["images"].shape == (16, 8, 8, 1)
    assert np.abs(names["images"]).max() <= 1
    exec(pretrained, names)
    assert names["images"].shape == (16, 16, 16, 1)


@pytest.mark.slow
def test_gan_in_code_runs_as_it_stands(small_networks, tmp_path):
    training, watched, method, _ = blocks(DOCS / "gan.md")
    names = {}
    exec(smaller(training, SIZES), names)
    assert names["pixels"].shape == (16, 8, 8, 1)
    fewer = {
        "steps_per_epoch=20_000": "steps_per_epoch=1",
        "updates=600": "updates=1",
        '"quick", 1000': '"quick", 20',
    }
    exec(smaller(watched, fewer), names)
    assert int(names["gan"].step.value) == 3
    rows = files.read_rows(tmp_path / "scores.jsonl")
    assert "frechet_classifier_distance" in {row["metric"] for row in rows}
    assert (tmp_path / "samples" / "step_00000003.png").exists()
    exec(smaller(method, SIZES), names)
    assert names["gan"].zero_centered_penalty == 1.0
    assert names["gan"].adversarial_loss.paired


def commands(page, sizes=None):
    """Returns the commands of a page's blocks, each a list of words."""
    text = smaller("".join(blocks(page, "bash")), sizes or {})
    lines = text.replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines]


class Shell:
    """Runs the commands of a page, in a folder, with small networks.

    Args:
        folder: Where they run.
        cache: Folder of classifiers.
        flags: What each `python main.py` is given before its own.
    """

    def __init__(self, folder, cache, flags):
        self._folder = folder
        self._environment = {"SNGAN_TF_CACHE": str(cache)}
        self._flags = flags
        self._count = 0
        self._server = self._port = None
        self._curl = argparse.ArgumentParser("curl")
        for option in ("-o", "-d", "url"):
            self._curl.add_argument(option)

    def run(self, words):
        """Runs a command, a server until `close`; returns what it said."""
        if words[0] == "curl":
            return self._ask(self._curl.parse_args(words[1:]))
        assert words[:2] == ["python", "main.py"], words
        # A config comes before its fields.
        words = sorted(words[2:], key=lambda x: not x.startswith("--config="))
        place = sum(word.startswith("--config=") for word in words)
        self._count += 1
        said = self._folder / f"said_{self._count}"
        said.touch()
        serves = "--mode=serve" in words
        flags = ["--port=0"] if serves else self._flags
        process = forked.start(
            self._folder,
            [*words[:place], *flags, *words[place:]],
            said,
            said,
            self._environment,
            small_networks=True,
        )
        if serves:
            self._server = process
            self._port = served.port_of(said, process)
            served.wait(lambda: self._get("/ready")[0] == 200)
        else:
            process.join()
            assert process.exitcode == 0, said.read_text()
        return said.read_text()

    def close(self):
        if self._server:
            self._server.terminate()
            self._server.join()

    def _get(self, path):
        return served.ask(self._port, "GET", path)

    def _ask(self, given):
        path = given.url.removeprefix("localhost:8501")
        method = "POST" if given.d else "GET"
        status, content = served.ask(self._port, method, path, given.d)
        assert status == 200, content
        if given.o:
            (self._folder / given.o).write_bytes(content)
        return content


@pytest.fixture
def shell(tmp_path, shared_cache):
    """Returns a function of flags to a `Shell`."""
    shells = []

    def make(*flags):
        shells.append(Shell(tmp_path, shared_cache, flags))
        return shells[-1]

    yield make
    for each in shells:
        each.close()


FEW = (
    "--config.data.batch_size=4",
    "--config.log_every=2",
    "--config.checkpoint_every=2",
    "--config.sample_every=2",
    "--config.evaluate_every=2",
    "--config.evaluation.samples=8",
    "--config.evaluation.classifier_updates=1",
)


@pytest.mark.slow
def test_five_minutes(shell, tmp_path, monkeypatch):
    page = DOCS / "start.md"
    # What sets up, continuous integration runs.
    assert blocks(page, "bash")[0] == blocks(README, "bash")[0]
    main, sample, serve, picture, numbers = commands(page)[2:]
    run = shell(*FEW, "--config.data.image_size=8", "--config.updates=4").run
    assert blocks(page, "text")[0] in run(main)
    workdir = tmp_path / "runs" / "digits"
    assert (workdir / "samples" / "step_00000000.png").is_file()
    assert [*(workdir / "tensorboard").iterdir()]
    run(sample)
    (path,) = (workdir / "samples").glob("*_seed_00000007_count_25.npy")
    assert np.load(path).shape == (25, 8, 8, 1)
    run(serve)
    run(picture)
    with Image.open(tmp_path / "grid.png") as image:
        assert min(image.size) >= 5 * 8
    assert np.shape(json.loads(run(numbers))["outputs"]) == (16, 8, 8, 1)
    # What other pages do with this run.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(networks, "build", small.build)
    names = {}
    exec(blocks(DOCS / "serving.md")[0], names)
    assert names["images"].shape == (16, 8, 8, 1)
    exec(blocks(DOCS / "gan.md")[3], names)
    assert int(names["gan"].step.value) == 4
    assert (tmp_path / "digits_model" / "saved_model.pb").is_file()


def test_layer_of_the_five_minutes_runs_as_it_stands():
    (block,) = blocks(DOCS / "start.md")
    names = {}
    exec(block, names)
    kinds = [type(layer).__name__ for layer in names["plain"].layers]
    assert kinds == ["Conv2D", "GlobalAveragePooling2D", "Dense"]
    images = keras.random.normal((2, 28, 28, 1))
    np.testing.assert_allclose(
        names["plain"](images), names["model"](images), atol=1e-5
    )


PICTURES = DOCS / "pictures.md"


@pytest.mark.slow
def test_own_pictures(shell, tmp_path, inception):
    random = np.random.default_rng(0)
    for folder in ("pictures/cat", "pictures/dog", "flat"):
        (tmp_path / folder).mkdir(parents=True)
        for i in range(10):
            image = random.integers(0, 256, (70, 64, 3), np.uint8)
            Image.fromarray(image).save(tmp_path / folder / f"{i}.png")
    run = shell(*FEW, f"--config.evaluation.inception={inception}").run
    said = [
        run(words)
        for words in commands(
            PICTURES,
            {"updates=20000": "updates=2", "updates=40000": "updates=4"},
        )
    ]
    assert "classifier_score" in said[0]
    runs = tmp_path / "runs"
    assert files.read_rows(runs / "mine" / "train.jsonl")[-1]["step"] == 4
    assert [*(runs / "mine" / "samples").glob("best_*_count_25.png")]
    scores = files.read_rows(runs / "flat" / "scores.jsonl")
    assert {row["step"] for row in scores} == {2}
    assert "frechet_inception_distance" in {row["metric"] for row in scores}
    assert [*(runs / "classes" / "samples").glob("*_label_0_*.png")]
    with Image.open(tmp_path / "grid.png") as image:
        assert min(image.size) >= 5 * 64


@pytest.mark.parametrize(
    ("begins", "paths", "text", "size"),
    [
        ("`data.name` names a missing folder", (), "", 8),
        (
            "`data.name` must name a folder that holds pictures",
            ("notes.txt",),
            "",
            8,
        ),
        (
            "A folder of pictures must be flat or hold one folder per class, "
            "not both",
            ("1.png", "cat/2.png"),
            "",
            8,
        ),
        (
            "Every class folder must hold pictures",
            ("cat/1.png", "dog/notes.txt"),
            "",
            8,
        ),
        (" can't be read as a picture", ("damaged.png",), "", 8),
        (
            "`data.batch_size` x `discriminator_steps` must not be larger than "
            "the data",
            ("1.png",),
            "",
            8,
        ),
        ("`data.image_size` or `network` don't fit", ("1.png",), "", 20),
        (
            "A conditional network needs labels",
            ("1.png",),
            "network=resnet_projection",
            32,
        ),
    ],
)
def test_errors_of_pictures_are_those_of_the_page(
    tmp_path, begins, paths, text, size
):
    assert begins in PICTURES.read_text()
    for path in paths:
        file = tmp_path / "pictures" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        if file.stem.isdigit():
            Image.new("RGB", (8, 8)).save(file)
    config = image_folder.get_config(text)
    config.data.name = f"folder:{tmp_path / 'pictures'}"
    config.data.image_size = size
    with pytest.raises(errors.UserError, match=re.escape(begins)):
        train.train(config, workdir.Workdir(tmp_path / "run"))


def test_arithmetic_of_pictures_is_counted(monkeypatch):
    monkeypatch.syspath_prepend(DOCS.parent / "benchmarks")
    arithmetic = importlib.import_module("arithmetic")
    for size in (32, 64):
        (row,) = re.findall(
            rf"^\| {size} \|.*\| (\S+) \|$", PICTURES.read_text(), re.MULTILINE
        )
        pair = networks.build("cnn", (size, size, 3), width=0.25)
        assert row == f"{arithmetic.step(*pair, 64) / 1e9:.1f}"


COMMAND = DOCS / "command.md"


def first_cells(page):
    """Returns what stands as code in the first cells of a page's tables."""
    cells = re.findall(r"^\| (.*?) \|", page.read_text(), re.MULTILINE)
    return {code for cell in cells for code in re.findall("`(.*?)`", cell)}


def test_command_is_told_whole():
    cells = first_cells(COMMAND)
    assert {*flags.MODES} <= cells
    assert {f"--{flag}" for flag in flags.FLAGS} <= cells
    untold = [
        field.name
        for field in fields.FIELDS
        if not any(fnmatch.fnmatch(field.name, cell) for cell in cells)
    ]
    assert untold == []


def test_config_of_the_command_overrides_fields():
    (block,) = blocks(COMMAND)
    names = {}
    exec(block, names)
    config = names["get_config"]("setting=D")
    assert config.data.name == "folder:pictures"
    assert config.optimizer.learning_rate == 1e-3
    fields.check(config)


def test_rows_of_the_paper_are_told_whole():
    page = DOCS / "paper.md"
    assert {*methods.METHODS} <= first_cells(page)
    told = re.findall("`(.*?)`", page.read_text())
    assert {*losses.LOSSES, *networks.NETWORKS} <= {*told}
    shipped = {path.name for path in DOCS.parent.glob("configs/*.py")}
    told = {
        path.name for path in map(pathlib.Path, LINK.findall(page.read_text()))
    }
    assert shipped - {"default.py"} <= told
