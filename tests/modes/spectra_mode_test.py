import json
import re

import keras
import numpy as np
import pytest
import small
from keras import layers

from sngan_tf import certificates
from sngan_tf import files
from sngan_tf import wrap
from sngan_tf.errors import UserError
from sngan_tf.gan import GAN
from sngan_tf.layers import effective_rank
from sngan_tf.layers import singular_values
from sngan_tf.layers import spectral_norms
from sngan_tf.modes import spectra
from sngan_tf.runs import build
from sngan_tf.runs import summary
from sngan_tf.runs import workdir as workdir_lib

FIGURES = {"operator_norms.png", "singular_values.png"}


@pytest.fixture
def run(tmp_path):
    return workdir_lib.Workdir(tmp_path / "run")


@pytest.fixture(autouse=True)
def certified(monkeypatch):
    """Bounds that take no time; of a model named `odd` there are none."""

    def operator_norms(model):
        return {
            name: certificates.OperatorNorm(norm, 2 * norm, "fft")
            for name, norm in spectral_norms(model).items()
        }

    def lipschitz_bounds(model):
        if model.name == "odd":
            raise ValueError("`odd` is not known")
        layer = certificates.LayerBound("dense", np.float64(3.0), "svd", True)
        return certificates.LipschitzBounds(np.inf, np.float64(0.5), (layer,))

    monkeypatch.setattr(certificates, "operator_norms", operator_norms)
    monkeypatch.setattr(certificates, "lipschitz_bounds", lipschitz_bounds)


@pytest.fixture
def restored(monkeypatch):
    gan = GAN(*small.build("cnn", (8, 8, 1), 4, 1.0), average_decay=0.5)
    gan.step.assign(300)
    monkeypatch.setattr(build, "restored_gan", lambda *_: gan)
    return gan


def read(folder):
    """Returns `spectra.json`, which is strict JSON."""

    def refuse(constant):
        raise AssertionError(constant)

    text = (folder / "spectra.json").read_text()
    return json.loads(text, parse_constant=refuse)


def of_networks(*names):
    return {f"{name}_{figure}" for name in names for figure in FIGURES}


def written(folder):
    return {path.name for path in folder.iterdir()}


def test_numbers_of_both_networks_are_written(tiny_config, run, restored):
    folder = spectra.spectra(tiny_config, run)
    assert folder == run.spectra
    assert written(folder) == {
        "spectra.json",
        *of_networks("discriminator", "generator"),
    }
    found = read(folder)
    assert found["step"] == 300
    assert found["checkpoint"] == "last"
    assert found["method"] == "spectral_norm"
    assert [*found["networks"]] == ["discriminator", "generator"]
    models = restored.discriminator, restored.average_generator
    for network, model in zip(found["networks"].values(), models):
        kernels = network["kernels"]
        values = singular_values(model)
        assert [*kernels] == [*values]
        for name, kernel in kernels.items():
            assert kernel["singular_values"] == values[name].tolist()
            assert kernel["effective_rank"] == effective_rank(values[name])
            norm = values[name][0]
            assert kernel["operator_norm"] == pytest.approx(
                {"lower": norm, "upper": 2 * norm, "how": "fft"}
            )
        assert network["lipschitz"] == {
            "upper": None,
            "lower": 0.5,
            "layers": [
                {"name": "dense", "bound": 3.0, "how": "svd", "rigorous": True}
            ],
        }
    assert found["networks"]["discriminator"]["kernels"]["conv_1"]["shape"] == [
        4,
        4,
        1,
        4,
    ]


def test_what_the_run_logged_is_drawn(tiny_config, run, restored):
    run.path.mkdir()
    norms = {"step": 2, "spectral_norms": {"conv_1": 1.0}}
    files.write_rows(run.spectral_norms, [norms])
    files.write_rows(run.train_log, [{"step": 2, "d_loss": 1.0, "g_loss": 0}])
    spectra.spectra(tiny_config, run)
    assert "spectral_norms.png" in written(run.spectra)
    assert "gradients.png" not in written(run.spectra)
    gradients = {"lambdas": {"conv_1": 0.5}, "gradient_shares": {"conv_1": 0.1}}
    files.append_row(
        run.train_log, {"step": 4, "d_loss": 1, "g_loss": 0, **gradients}
    )
    spectra.spectra(tiny_config, run)
    assert "gradients.png" in written(run.spectra)


def test_report_tells_what_was_found(tiny_config, run, restored):
    spectra.spectra(tiny_config, run)
    table = summary.table(run)
    assert f"spectra  {run.spectra}, of update 300" in table
    _, title, header, conv, dense = table.rsplit("\n", 4)
    assert title == (
        "spectra of the discriminator, its Lipschitz constant 0.5 to inf"
    )
    assert re.split(" {2,}", header) == [
        "kernel",
        "effective rank",
        "norm of the matrix",
        "of the map",
    ]
    assert re.fullmatch(r"conv_1 +[\d.]+ of 4 +1 +1 to 2", conv)
    assert re.fullmatch(r"dense +1 of 1 +1 +1 to 2", dense)


def test_what_was_written_before_outlives_a_kill(
    tiny_config, run, restored, monkeypatch
):
    spectra.spectra(tiny_config, run)
    before = read(run.spectra)
    restored.step.assign(400)

    def die(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        spectra.spectra(tiny_config, run)
    assert read(run.spectra) == before
    assert not [*run.spectra.glob(".*")]


def test_folder_that_cannot_be_written_is_told_of_first(
    tiny_config, run, restored, monkeypatch
):
    run.path.mkdir()
    run.spectra.touch()
    monkeypatch.setattr(spectra.spectra_lib, "measure", None)
    with pytest.raises(UserError, match=f"^{run.spectra} can't be written"):
        spectra.spectra(tiny_config, run)


def test_run_without_checkpoint_is_told_of(tiny_config, run):
    with pytest.raises(UserError, match="no checkpoint.*--mode=train"):
        spectra.spectra(tiny_config, run)
    assert not run.path.exists()


# Any model.


def save(path, model):
    model.save(path)
    return path


def test_any_model_is_measured_beside_its_file(tmp_path):
    model = keras.Sequential(
        [keras.Input((6,)), layers.Dense(4, name="hidden"), layers.Dense(3)]
    )
    model = wrap(model, layers="hidden", bound=2.0)
    path = save(tmp_path / "my.classifier.keras", model)
    folder = spectra.of_file(str(path))
    assert folder == tmp_path / "my.classifier_spectra"
    assert written(folder) == {"spectra.json", *of_networks("my.classifier")}
    found = read(folder)
    assert found["model"] == "my.classifier.keras"
    kernels = found["networks"]["my.classifier"]["kernels"]
    assert kernels["hidden"]["singular_values"][0] == pytest.approx(2, rel=1e-3)
    lines = summary.spectra_lines(folder)
    assert lines[0].startswith("spectra of the my.classifier, its Lipschitz")
    assert len(lines) == 2 + 2


def test_both_networks_of_a_saved_gan_are_measured(tmp_path, restored):
    path = save(tmp_path / "gan.keras", restored)
    folder = spectra.of_file(path)
    assert [*read(folder)["networks"]] == ["discriminator", "generator"]


def test_refusal_is_written_with_its_reason(tmp_path):
    model = keras.Sequential([keras.Input((2,)), layers.Dense(2)], name="odd")
    folder = spectra.of_file(save(tmp_path / "odd.keras", model))
    network = read(folder)["networks"]["odd"]
    assert network["lipschitz_refused"] == "`odd` is not known"
    assert "lipschitz" not in network
    assert summary.spectra_lines(folder)[0] == (
        "spectra of the odd, its Lipschitz constant not bounded "
        "(`odd` is not known)"
    )


class Unregistered(layers.Layer):
    pass


def test_unknown_class_is_named(tmp_path):
    model = keras.Sequential([keras.Input((2,)), Unregistered()])
    path = save(tmp_path / "model.keras", model)
    message = f"^`model` must be .*--model={path}; its class Unregistered is"
    with pytest.raises(UserError, match=message) as error:
        spectra.of_file(path)
    assert len(str(error.value).splitlines()) == 1


def test_file_that_is_no_model_is_told_of(tmp_path):
    path = tmp_path / "text.keras"
    path.write_text("no archive")
    with pytest.raises(UserError, match=f"Keras can load.*--model={path}; "):
        spectra.of_file(path)


def test_model_without_kernels_is_told_of(tmp_path):
    model = keras.Sequential([keras.Input((2,)), layers.ReLU()])
    path = save(tmp_path / "model.keras", model)
    with pytest.raises(UserError, match="must have layers with kernels"):
        spectra.of_file(path)
    assert [*tmp_path.iterdir()] == [path]


def test_weight_that_is_not_finite_is_named(tmp_path):
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1, name="d")])
    model.layers[0].kernel.assign([[np.nan], [0.0]])
    path = save(tmp_path / "model.keras", model)
    with pytest.raises(UserError, match="finite.*in which .*d/kernel is not"):
        spectra.of_file(path)
