"""The examples as a user runs them."""

import importlib
import pathlib
import sys

import compare_operator_norms
import forked
import keras
import numpy as np
import pytest
import small

import sngan_tf
from sngan_tf import certificates
from sngan_tf import files
from sngan_tf import images as images_lib
from sngan_tf import networks
from sngan_tf.layers import spectral_norms

pytestmark = pytest.mark.slow

EXAMPLES = pathlib.Path(__file__).parents[1] / "examples"
METHODS = ("none", "weight_clipping,setting=B")


@pytest.fixture(scope="module")
def example():
    """Returns a function of an example's name and arguments that runs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES)

        def run(name, *arguments):
            patch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
            module = importlib.import_module(name)
            if hasattr(module, "subprocess"):
                patch.setattr(module.subprocess, "run", run_command)
            module.main()

        yield run


def run_command(command, cwd, check):
    _, script, *flags = command
    assert (script, check) == ("main.py", True)
    said = pathlib.Path("said")
    process = forked.start(cwd, flags, said, said, {}, small_networks=True)
    process.join()
    assert process.exitcode == 0, said.read_text()


@pytest.fixture(scope="module")
def compared(example, tmp_path_factory):
    """Returns the folder of two methods' runs and their figure."""
    folder = tmp_path_factory.mktemp("compared")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        example(
            "compare_methods",
            "methods.png",
            "runs",
            "--methods",
            *METHODS,
            "--config.data.name=digits",
            "--config.data.image_size=8",
            "--config.data.batch_size=4",
            "--config.updates=1",
            "--config.log_every=1",
            "--config.sampling.count=4",
        )
    return folder


def grid(folder, method, update):
    return images_lib.read_png(
        folder / "runs" / method / "samples" / f"step_{update:08d}.png"
    )


def test_methods_are_shown_side_by_side(compared):
    shown = images_lib.read_png(compared / "methods.png")
    for i, method in enumerate(METHODS):
        samples = grid(compared, method, 1)
        height, width = samples.shape[:2]
        left = i * (width + 8)
        panel = shown[44 : 44 + height, left : left + width]
        np.testing.assert_array_equal(
            panel, np.broadcast_to(samples, panel.shape)
        )


def test_run_is_plotted(example, compared, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib draws the curves")
    curves, samples = tmp_path / "curves.png", tmp_path / "samples.png"
    run = compared / "runs" / METHODS[0]
    row = {"step": 1, "spectral_norms": {"dense": 1.0}}
    files.append_row(run / "spectral_norms.jsonl", row)
    example("plot_run", run, curves, samples, 0, 1)
    drawn = images_lib.read_png(curves)
    assert len(np.unique(drawn.reshape(-1, drawn.shape[-1]), axis=0)) > 10
    shown = images_lib.read_png(samples)
    for i, update in enumerate((0, 1)):
        expected = grid(compared, METHODS[0], update)
        height, width = expected.shape[:2]
        left = i * (width + 8)
        panel = shown[44 : 44 + height, left : left + width]
        np.testing.assert_array_equal(
            panel, np.broadcast_to(expected, panel.shape)
        )


def test_norms_of_runs_are_compared(
    example, compared, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(networks, "build", small.build)
    figure = tmp_path / "norms.png"
    runs = [compared / "runs" / method for method in METHODS]
    example("compare_operator_norms", figure, *runs)
    said = capsys.readouterr().out
    for method, run in zip(METHODS, runs):
        title = f"{method.partition(',')[0]}, 1 updates"
        said = said[said.index(title) :]
        discriminator = sngan_tf.load_run(run).discriminator
        bounds = certificates.lipschitz_bounds(discriminator)
        assert bounds.lower <= bounds.upper
        assert f"from {bounds.lower:.4g} to {bounds.upper:.4g}" in said
        for name, norm in spectral_norms(discriminator).items():
            row = said[said.index(f"  {name} ") :].split()[1:5]
            matrix, lower, upper, limit = map(float, row)
            assert matrix == pytest.approx(norm, abs=1e-3)
            assert lower <= upper <= limit + 1e-3
    drawn = images_lib.read_png(figure)
    assert len(np.unique(drawn.reshape(-1, drawn.shape[-1]), axis=0)) > 10


def test_kernel_of_ones_is_at_the_limit_of_its_size_and_stride():
    # A constant picture is stretched the most, but for its border.
    inputs = keras.Input((64, 64, 1))
    x = keras.layers.Conv2D(1, 3, padding="same", name="three")(inputs)
    x = keras.layers.Conv2D(1, 4, 2, padding="same", name="four")(x)
    outputs = keras.layers.Dense(1, name="dense")(x)
    model = keras.Model(inputs, outputs)
    for layer in model.layers[1:]:
        layer.kernel.assign(np.ones(layer.kernel.shape))
    found = compare_operator_norms.of_layers(model)
    for name, matrix, limit in (
        ("three", 3.0, 9.0),
        ("four", 4.0, 8.0),
        ("dense", 1.0, 1.0),
    ):
        norms = found[name]
        np.testing.assert_allclose(norms.matrix, matrix)
        np.testing.assert_allclose(norms.limit, limit)
        np.testing.assert_allclose(norms.lower, limit, rtol=0.01)
        assert norms.lower <= norms.upper <= limit * (1 + 1e-6)
