"""Draws how the time of a step grows, and prints the slopes.

    python benchmarks/growth.py

Table 3's networks at 32 pixels and a quarter of the width, unless the panel
says otherwise: over the batch, the width, the power iterations, and replicas,
which are logical devices under `MirroredStrategy` that share the two threads.
The points of a panel take turns. Writes docs/speed_growth.png, and every turn
in docs/growth.jsonl.
"""

import argparse
import dataclasses
import json
import math
import pathlib
import statistics

import contestants
import machine
import matplotlib
from contestants import turns

matplotlib.use("Agg")

import itertools

from matplotlib import pyplot as plt

_BASE = contestants.CELLS["quarter"]


@dataclasses.dataclass(frozen=True)
class Panel:
    """A curve of the figure.

    Attributes:
        label: Of the axis.
        values: Along it.
        change: Function of a value to the fields of a `contestants.Cell`.
        ideal: Slope on logarithmic axes if arithmetic were all, 0 for none of
            the time to depend on the value.
    """

    label: str
    values: tuple
    change: object
    ideal: float


def _batch(batch):
    return {"batch_size": batch, "generator_batch_size": batch}


PANELS = {
    "batch": Panel("batch", (16, 32, 64, 128, 256), _batch, 1.0),
    "width": Panel(
        "width", (1 / 8, 1 / 4, 1 / 2, 1.0), lambda w: {"width": w}, 2.0
    ),
    "power_iterations": Panel(
        "power iterations",
        (1, 2, 3, 5, 10),
        lambda count: {"power_iterations": count},
        0.0,
    ),
    "replicas": Panel(
        "replicas on two cores, batch 64 in all",
        (1, 2),
        lambda count: {"replicas": count},
        0.0,
    ),
}


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--turn", type=float, default=1.0)
    docs = machine.ROOT / "docs"
    parser.add_argument(
        "--rows", type=pathlib.Path, default=docs / "growth.jsonl"
    )
    parser.add_argument(
        "--figure", type=pathlib.Path, default=docs / "speed_growth.png"
    )
    arguments = parser.parse_args(arguments)
    print(machine.line(machine.description()))
    rows = []
    for name in PANELS:
        print(f"{name}:")
        rows += measure(name, arguments.rounds, arguments.turn)
    header = {"machine": machine.description(), "cell": vars(_BASE)}
    text = "".join(json.dumps(row) + "\n" for row in [header, *rows])
    arguments.rows.write_text(text)
    for name in PANELS:
        print(describe(name, medians(rows, name)))
    draw(rows, arguments.figure)


def measure(name, rounds, seconds, base=_BASE):
    """Returns a row for each turn of a panel's points."""
    panel = PANELS[name]
    ours = contestants.CONTESTANTS[contestants.OURS]
    entries = {
        value: (ours, dataclasses.replace(base, **panel.change(value)))
        for value in panel.values
    }
    rows = []
    with turns.started(entries, machine.THREADS) as (workers, unable):
        if unable:
            raise turns.Unable(next(iter(unable.values())))
        steps = {
            value: turns.steps_of_turn(worker, seconds)
            for value, worker in workers.items()
        }
        for number in range(rounds):
            for value, worker in workers.items():
                each, _ = turns.turn(worker, steps[value])
                rows.append(
                    {
                        "panel": name,
                        "value": value,
                        "round": number,
                        "steps": steps[value],
                        "seconds": each,
                    }
                )
    return rows


def medians(rows, name):
    """Returns `{value: median seconds}` of a panel."""
    seconds = {}
    for row in rows:
        if row.get("panel") == name:
            seconds.setdefault(row["value"], []).append(row["seconds"])
    return {value: statistics.median(all_) for value, all_ in seconds.items()}


def slopes(points):
    """Returns the slopes on logarithmic axes between neighbouring points."""
    pairs = list(points.items())
    return [
        math.log(after / before) / math.log(later / earlier)
        for (earlier, before), (later, after) in itertools.pairwise(pairs)
    ]


def line(points):
    """Returns `(seconds at 0, seconds for each)` of the least squares line."""
    each, start = statistics.linear_regression(
        list(points), list(points.values())
    )
    return start, each


def describe(name, points):
    """Returns what a panel says, in one line."""
    start, each = line(points)
    said = ", ".join(
        f"{value:g}: {1e3 * seconds:.1f} ms"
        for value, seconds in points.items()
    )
    steepness = ", ".join(f"{slope:.2f}" for slope in slopes(points))
    return (
        f"{name}: {said}; slopes {steepness} (arithmetic alone: "
        f"{PANELS[name].ideal:g}); line {1e3 * start:.1f} ms "
        f"{1e3 * each:+.2f} ms each"
    )


def draw(rows, path):
    """Writes the figure of four panels."""
    figure, all_axes = plt.subplots(2, 2, figsize=(10, 7))
    for (name, panel), axes in zip(PANELS.items(), all_axes.flat, strict=True):
        points = medians(rows, name)
        values = list(points)
        milliseconds = [1e3 * seconds for seconds in points.values()]
        axes.plot(values, milliseconds, "o-", label="measured")
        # Through the last point, where arithmetic is most of the time.
        ideal = [
            milliseconds[-1] * (value / values[-1]) ** panel.ideal
            for value in values
        ]
        label = f"slope {panel.ideal:g}" if panel.ideal else "no cost"
        if panel.ideal:
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
        else:
            ideal = [milliseconds[0]] * len(values)
            axes.set_ylim(0, 1.15 * max(milliseconds))
        axes.plot(values, ideal, color="grey", linewidth=0.8, label=label)
        axes.set_xticks(values, [f"{value:g}" for value in values])
        axes.minorticks_off()
        axes.set_xlabel(panel.label)
        axes.set_ylabel("ms a step")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
