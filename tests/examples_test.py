"""The examples as a user runs them."""

import importlib
import json
import os
import pathlib
import subprocess
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


# On another backend, so in a process of its own. In a step of three
# discriminator updates by optimizers that change nothing, `u` moves alone.
ON_JAX = """
import json, sys
import jax, keras, numpy as np
import small, train_jax

def build(name, shape, width):
    return small.build(name, shape, 4, width)

def u_and_kernel():
    layer = pair[1].layers[1]
    (u,) = (v for v in layer.variables if v.name == "u")
    return np.array(u), np.array(layer.kernels[0])

train_jax.networks.build = build
sys.argv[1:] = ["--size=8", "--batch=2", "--updates=2"]
train_jax.main()

pair = build("cnn", (8, 8, 1), 1)
pair[1].layers[1].kernels[0].assign(np.linspace(-1, 2, 64).reshape(4, 4, 1, 4))
optimizers = [keras.optimizers.SGD(0.0) for _ in pair]
state = train_jax.initial_state(*pair, *optimizers)
before, mean = u_and_kernel()[0], np.array(pair[0].get_layer("bn").moving_mean)
step = jax.jit(train_jax.training_step(*pair, *optimizers, 6))
images = np.random.default_rng(0).uniform(-1, 1, (3, 2, 8, 8, 1))
state, losses = step(state, jax.random.key(0), images)
train_jax.keep(state, *pair)
moved = np.abs(np.array(pair[0].get_layer("bn").moving_mean) - mean).max()
after, kernel = u_and_kernel()
w = kernel.reshape(-1, 4).T
for _ in range(3):
    v = w.T @ before
    before = w @ v / np.linalg.norm(w @ v)
print(json.dumps([
    "tensorflow" in sys.modules,
    float(moved),
    float(np.abs(after - before).max()),
    [float(loss) for loss in losses],
]))
"""


def test_step_of_jax_advances_u_once_per_discriminator_update():
    pytest.importorskip("jax", reason="the extra jax installs it")
    path = os.pathsep.join([str(EXAMPLES), str(EXAMPLES.parent / "tests")])
    path += os.pathsep + str(EXAMPLES.parent)
    said = subprocess.run(
        [sys.executable, "-c", ON_JAX],
        env={
            **os.environ,
            "PYTHONPATH": path,
            "KERAS_BACKEND": "jax",
            # What compiles soon, rather than what runs fast.
            "XLA_FLAGS": "--xla_backend_optimization_level=0 "
            "--xla_llvm_disable_expensive_passes=true",
        },
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert said[0].startswith("2: d_loss ")
    tensorflow, moved, difference, losses = json.loads(said[1])
    assert not tensorflow
    assert moved > 1e-6
    assert difference < 1e-5
    assert np.isfinite(losses).all()
