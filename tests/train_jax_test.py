"""The step of the example on JAX, in a process of that backend."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[1]

# In a step of three discriminator updates by optimizers that change nothing,
# `u` moves alone.
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


@pytest.mark.slow
def test_step_of_jax_advances_u_once_per_discriminator_update():
    pytest.importorskip("jax", reason="the extra jax installs it")
    folders = [ROOT, ROOT / "examples", ROOT / "tests"]
    said = subprocess.run(
        [sys.executable, "-c", ON_JAX],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, folders)),
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
