"""The examples as a user runs them."""

import importlib
import pathlib
import sys

import forked
import numpy as np
import pytest

from sngan_tf import images as images_lib

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
