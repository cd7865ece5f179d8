"""What the benchmarks count, compare and write; never how long it took."""

import dataclasses
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import types

import keras
import numpy as np
import pytest
import small
from keras import layers

from sngan_tf import SpectralNormalization
from sngan_tf import files
from sngan_tf import images
from sngan_tf import networks
from sngan_tf.gan import GAN
from sngan_tf.gan import methods
from sngan_tf.gan import spectral_compensation

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def benchmark_path(monkeypatch):
    for folder in ("examples", "benchmarks"):
        monkeypatch.syspath_prepend(ROOT / folder)


def module(name):
    return importlib.import_module(name)


def trainable(network):
    return sum(int(np.prod(w.shape)) for w in network.trainable_weights)


def tiny(name, **changes):
    cell = module("contestants").CELLS[name]
    return dataclasses.replace(
        cell, width=1 / 32, batch_size=2, generator_batch_size=2, **changes
    )


# Multiply-adds of one image, written out: outputs x kernel, or for transposed
# convolutions inputs x kernel.
@pytest.mark.parametrize(
    ("layer", "shape", "multiply_adds"),
    [
        (layers.Conv2D(5, 3, padding="same"), (8, 8, 3), 8 * 8 * 9 * 3 * 5),
        (layers.Conv2D(5, 4, 2, "same"), (8, 8, 3), 4 * 4 * 16 * 3 * 5),
        (layers.Conv2DTranspose(5, 4, 2, "same"), (8, 8, 3), 64 * 16 * 15),
        (layers.Dense(5), (7,), 35),
        (SpectralNormalization(layers.Dense(5)), (7,), 35),
        (layers.ReLU(), (7,), 0),
    ],
)
def test_arithmetic_of_a_layer(layer, shape, multiply_adds):
    layer(keras.Input(shape))
    assert module("arithmetic").layer(layer) == 2 * multiply_adds


def test_data_ask_for_no_gradients():
    inputs = keras.Input((8, 8, 3))
    pooled = layers.AveragePooling2D(2)(inputs)
    x = layers.Conv2D(4, 1)(pooled)
    x = layers.Conv2D(2, 1)(layers.ReLU()(x))
    first, second = 2 * 16 * 3 * 4, 2 * 16 * 4 * 2
    counted = module("arithmetic").network(keras.Model(inputs, x))
    assert counted.forward == counted.backward_to_inputs == first + second
    assert counted.backward_to_weights == first + 2 * second


@pytest.mark.parametrize(
    ("size", "channels", "width", "expected"),
    [(32, 3, 1.0, 163.8), (32, 3, 0.25, 10.74), (16, 1, 0.25, 2.59)],
)
def test_arithmetic_of_a_step(size, channels, width, expected):
    # No normalization, as shapes are all that counts.
    pair = networks.build(
        "cnn", (size, size, channels), width=width, method="none"
    )
    found = module("arithmetic").step(*pair, batch=64) / 1e9
    assert found == pytest.approx(expected, rel=0.01)


def test_more_updates_take_more_arithmetic():
    arithmetic = module("arithmetic")
    pair = networks.build("cnn", (8, 8, 1), width=1 / 32, method="none")
    one = arithmetic.step(*pair, batch=4)
    d_update = arithmetic.step(*pair, batch=4, steps=2) - one
    assert arithmetic.step(*pair, batch=4, steps=5) == one + 4 * d_update
    g_update = one - d_update
    larger = arithmetic.step(*pair, batch=4, generator_batch=8)
    assert larger == d_update + 2 * g_update


@pytest.mark.slow
def test_gan_takes_part(monkeypatch):
    monkeypatch.setattr(
        networks,
        "build",
        lambda name, shape, width, method: small.build(
            name, shape, 4, width, method
        ),
    )
    contestant = module("contestants.tensorflow_")
    for name in ("threading", "optimizer"):  # Those of the tests stay.
        monkeypatch.setattr(contestant.tf.config, name, Anything())
    built = contestant.build(tiny("quarter", image_size=8), 1)
    first, later = built.run(1), built.run(2)
    assert first.keys() == {"d_loss", "g_loss", "d_penalty"}
    assert np.isfinite(list(later.values())).all()
    assert later["d_loss"] != first["d_loss"]
    pair = small.build("cnn", (8, 8, 3), 4, 1 / 32, "none")
    assert built.parameters == tuple(map(trainable, pair))


@pytest.mark.slow
def test_callbacks_of_a_method_are_part_of_its_steps(monkeypatch):
    edited = []
    monkeypatch.setattr(
        spectral_compensation.SpectralCompensation,
        "compensate",
        lambda self: edited.append(int(self.model.step.numpy())),
    )
    contestant = module("contestants.tensorflow_")
    gan = GAN(*small.build("cnn", (8, 8, 1), 4, 1.0, "sr_gan_static"))
    gan.compile("sgd", "sgd", run_eagerly=True)
    callbacks = methods.get("sr_gan_static").callbacks()
    assert contestant._has_uncounted(gan, callbacks)
    assert not contestant._has_uncounted(gan, [])
    strategy = contestant.tf.distribute.get_strategy()
    cell = tiny("quarter", image_size=8, channels=1)
    run = contestant._run(gan, strategy, cell, callbacks)
    # Counted on from turn to turn.
    for steps in (3, 4, 3):
        run(steps)
    assert edited == [5, 10]


class Anything:
    def __getattr__(self, name):
        return lambda *_: None


# In a process of its own, as PyTorch's optimizers import what TensorFlow's
# libraries don't go with.
IN_TORCH = """
import dataclasses, json, sys
import contestants
from contestants import torch_

found = {}
for name in sys.argv[1:]:
    cell = dataclasses.replace(
        contestants.CELLS[name],
        width=1 / 32, batch_size=2, generator_batch_size=2,
    )
    advanced = []
    kind = torch_.parametrizations._SpectralNorm
    method = kind._power_method
    kind._power_method = lambda *given: (advanced.append(1), method(*given))
    built = torch_.build(cell, 1, as_example=name == "fidelity")
    advanced.clear()  # When they were made.
    losses = [built.run(1), built.run(1)]
    kind._power_method = method
    found[name] = built.parameters, losses, len(advanced)
print(json.dumps(found))
"""


@pytest.mark.slow
def test_pytorch_does_the_same_step_on_the_same_networks():
    if not importlib.util.find_spec("torch"):
        pytest.skip("the extra bench installs PyTorch")
    cells = ["quarter", "digits", "resnet", "fidelity"]
    said = subprocess.run(
        [sys.executable, "-c", IN_TORCH, *cells],
        env={**os.environ, "PYTHONPATH": str(ROOT / "benchmarks")},
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    for name, found in json.loads(said).items():
        parameters, (first, later), advanced = found
        cell = tiny(name)
        if name == "fidelity":
            pair = module("contestants.fidelity").build(
                cell.image_shape, cell.width, "none"
            )
        else:
            pair = networks.build(
                cell.network, cell.image_shape, width=cell.width, method="none"
            )
            # Once per discriminator update, in each layer with weights.
            count = sum(bool(layer.weights) for layer in pair[1].layers)
            assert advanced == 2 * cell.discriminator_steps * count
        assert parameters == [*map(trainable, pair)], name
        assert np.isfinite([*first.values(), *later.values()]).all()
        assert first != later


@pytest.fixture
def idle(monkeypatch):
    """Makes contestants of processes that start in a moment."""
    contestants, turns = module("contestants"), module("contestants.turns")

    def contestant(same_step=True, **options):
        return contestants.Contestant(
            "idle_contestant", "at rest", options, same_step=same_step
        )

    found = {
        "ours": contestant(),
        "matrix_product": contestant(False, parameters=()),
        "torch": contestant(refusal="no torch here"),
    }
    monkeypatch.setattr(contestants, "CONTESTANTS", found)
    monkeypatch.setattr(turns, "_PAUSE", 0.0)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))
    return found


def test_contestants_take_turns(idle, tmp_path):
    output = tmp_path / "peers"
    command = ["--quick", "--rounds=2", "--threads=1", f"--output={output}"]
    module("peers").main(["--cells=digits", *command])
    kept = files.read_rows(output.with_suffix(".jsonl"))
    module("peers").main(["--cells=quarter", "--contestants=ours", *command])
    rows = files.read_rows(output.with_suffix(".jsonl"))
    header, *taken = [row for row in rows if row["cell"] == "quarter"]
    assert rows[-len(kept) :] == kept  # In the order of the cells.
    order = [(row["round"], row["contestant"]) for row in taken]
    each = ["ours", "matrix_product", "ours"]
    assert order == [(number, name) for number in (0, 1) for name in each]
    assert {row["losses"]["d_loss"] for row in taken} == {1.0}
    assert header["threads"] == 1
    assert header["entries"]["ours"]["note"] == "1 threads"
    refused = kept[0]["entries"]["torch"]
    assert refused == {"reason": "ImportError: no torch here"}
    page = output.with_suffix(".md").read_text()
    assert "| torch | left out: ImportError: no torch here |" in page
    assert page.index("## quarter") < page.index("## digits")


def test_turns_are_of_whole_cycles():
    worker = types.SimpleNamespace(
        built={"cycle": 5}, run=lambda steps: (0.5 * steps, {})
    )
    steps_of_turn = module("contestants.turns").steps_of_turn
    assert [steps_of_turn(worker, s) for s in (0.0, 3.0, 6.0)] == [5, 5, 10]


def test_other_networks_are_refused(idle):
    built = {"ours": {"parameters": [3, 2]}, "torch": {"parameters": [3, 1]}}
    with pytest.raises(ValueError, match=r"Received: \[3, 1\] of torch"):
        module("peers").check_networks(built)
    built["matrix_product"] = built.pop("torch")
    module("peers").check_networks(built)


def rows_of(cell, turns):
    entries = {name: {"flop": None, "note": ""} for name, _ in turns}
    entries["ours"]["flop"] = 60e9
    entries["matrix_product"]["flop"] = 50e9
    taken = [
        {"cell": cell, "contestant": name, "seconds": seconds}
        for name, seconds in turns
    ]
    return [{"cell": cell, "entries": entries}, *taken]


def test_ratios_are_to_the_turns_beside():
    # The machine slows down; the ratios are 2, 0.5 and 1.25 all the same.
    rows = rows_of(
        "full",
        [
            ("ours", 1.0),
            ("torch", 4.0),
            ("ours", 3.0),
            ("matrix_product", 2.0),
            ("ours", 5.0),
            ("none", 7.5),
            ("ours", 7.0),
        ],
    )
    tables = module("tables")
    (cell,) = tables.by_cell(rows)
    assert cell.ratios == {
        "torch": [2.0],
        "matrix_product": [0.5],
        "none": [1.25],
    }
    assert cell.rate() == 25.0
    assert cell.share("ours") == pytest.approx(0.6)
    assert cell.share("torch") == pytest.approx(0.3)
    assert cell.best_torch() == "torch"
    assert tables.targets([cell]) == [
        (
            "full",
            "ours over the best PyTorch (torch)",
            "at most 1.00",
            "0.500",
            True,
        ),
        ("full", "ours over no normalization", "at most 1.01", "0.800", True),
        ("full", "share of the rate", "at least 0.95", "0.600", False),
    ]


def test_slopes_are_those_of_powers():
    pytest.importorskip("matplotlib", reason="matplotlib draws the figure")
    growth = module("growth")
    points = {x: 3 * x**2 for x in (1 / 8, 1 / 4, 1.0)}
    np.testing.assert_allclose(growth.slopes(points), [2, 2])
    start, each = growth.line({1: 5.0, 2: 7.0, 4: 11.0})
    np.testing.assert_allclose((start, each), (3, 2))


@pytest.mark.slow
def test_growth_is_measured_and_drawn(idle, monkeypatch, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib draws the figure")
    growth = module("growth")
    for name, panel in growth.PANELS.items():
        fewer = dataclasses.replace(panel, values=panel.values[:2])
        monkeypatch.setitem(growth.PANELS, name, fewer)
    rows, figure = tmp_path / "rows.jsonl", tmp_path / "figure.png"
    command = ["--rounds=1", "--turn=0", f"--rows={rows}"]
    growth.main([*command, f"--figure={figure}"])
    header, *taken = files.read_rows(rows)
    assert header["cell"]["name"] == "quarter"
    found = [(row["panel"], row["value"]) for row in taken]
    assert found == [
        (name, value)
        for name, panel in growth.PANELS.items()
        for value in panel.values
    ]
    drawn = images.read_png(figure)
    assert len(np.unique(drawn.reshape(-1, drawn.shape[-1]), axis=0)) > 10


@pytest.mark.slow
def test_server_bears_what_its_benchmark_asks(tmp_path, monkeypatch):
    page = tmp_path / "server.md"
    page.write_text("<!-- table serving -->\n<!-- end -->\n")
    serving = module("serving")
    # The server's own tests ask all of them.
    kinds = serving.bad_requests.kinds()[::10]
    monkeypatch.setattr(serving.bad_requests, "kinds", lambda: kinds)
    serving.main(["--quick", f"--output={tmp_path / 'server'}"])
    _, *rows = files.read_rows(tmp_path / "server.jsonl")
    found = {row["what"]: row for row in rows}
    loads = [row for row in rows if row["what"] == "load"]
    assert [(row["lost"], row["wrong"]) for row in loads] == 3 * [(0, 0)]
    assert all(0 < row["p50_ms"] <= row["p99_ms"] for row in loads)
    assert found["memory"]["lost"] == 0
    count = found["bad"]["kinds"]
    assert count == len(kinds) > 9
    assert found["bad"]["answers"] == {"4xx": count}
    assert found["bad"]["good_served_after"] == count
    assert found["killed"]["answered_after"] > 0
    assert (found["killed"]["lost_after"], found["killed"]["wrong"]) == (0, 0)
    assert "| predict, 1 row | 40 | 0 |" in page.read_text()


def test_machine_is_described():
    machine = module("machine")
    said = machine.description()
    assert said["versions"]["keras"] == keras.__version__
    assert said["versions"]["numpy"] == np.__version__
    assert said["commit"] in machine.line(said)
    for multiply in machine.products(4).values():
        median, best = machine.rate(multiply, 4, repeats=3)
        assert 0 < median <= best
