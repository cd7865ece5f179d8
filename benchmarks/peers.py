"""Times a training step beside its peers, and writes a table of ratios.

    python benchmarks/peers.py
    python benchmarks/peers.py --cells full --contestants none,torch

A cell is a pair of networks and a step (`contestants.CELLS`); a contestant does
that step, on one batch that lies ready, on two threads. Each is built and
warmed up in a process of its own. Then they take turns, ours b ours c ours ...,
while the others sleep; losses are read once a turn. Written are docs/peers.md,
and every turn in docs/peers.jsonl; cells that were not measured now stay as
they are there. PyTorch and JAX come with the extra `bench`; those that aren't
installed, or don't work here, are left out with the reason.
"""

import argparse
import dataclasses
import json
import pathlib
import tempfile

import contestants
import machine
import tables
from contestants import turns


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=_names(contestants.CELLS))
    parser.add_argument("--contestants", type=_names(contestants.CONTESTANTS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--turn", type=float, default=3.0, help="seconds of a turn, about"
    )
    parser.add_argument("--threads", type=int, default=machine.THREADS)
    parser.add_argument(
        "--quick",
        action="store_true",
        help="tiny networks and one step a turn: whether it runs at all",
    )
    parser.add_argument(
        "--output",
        type=pathlib.Path,
        help="of the files without .md and .jsonl; by default docs/peers, and "
        "none with --quick",
    )
    arguments = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        docs = (
            pathlib.Path(folder) if arguments.quick else machine.ROOT / "docs"
        )
        run(arguments, arguments.output or docs / "peers")


def run(arguments, output):
    """Measures and writes the cells that were asked for, prints the page."""
    for name in arguments.cells or contestants.CELLS:
        cell = contestants.CELLS[name]
        if arguments.quick:
            cell = quick(cell)
            arguments.turn = 0.0
        print(f"{name}:")
        rows = measure(cell, arguments)
        # After each cell, so that what takes an hour is not lost.
        write(rows, output)
    print(output.with_suffix(".md").read_text())


def quick(cell):
    """Returns a cell with the least to compute."""
    return dataclasses.replace(
        cell, width=1 / 32, batch_size=4, generator_batch_size=4
    )


def measure(cell, arguments):
    """Returns the rows of a cell, as `tables` describes them.

    Raises:
        turns.Unable: If ours can't be built.
        ValueError: If a contestant's networks are not those of ours.
    """
    asked = arguments.contestants or contestants.CONTESTANTS
    always = (contestants.OURS, contestants.PRODUCT)
    entries = {
        name: (contestant, cell)
        for name, contestant in contestants.CONTESTANTS.items()
        if (name in asked or name in always) and cell.name in contestant.cells
    }
    with turns.started(entries, arguments.threads) as (workers, unable):
        if contestants.OURS in unable:
            raise turns.Unable(unable[contestants.OURS])
        built = {name: worker.built for name, worker in workers.items()}
        check_networks(built)
        header = {
            "cell": cell.name,
            "fields": dataclasses.asdict(cell),
            "threads": arguments.threads,
            "machine": machine.description(),
            "entries": built
            | {name: {"reason": reason} for name, reason in unable.items()},
        }
        rows = [header]
        for number, name, seconds, steps, losses in turns.alternate(
            workers, contestants.OURS, arguments.rounds, arguments.turn
        ):
            print(f"  {number + 1}: {name} {1e3 * seconds:.1f} ms a step")
            rows.append(
                {
                    "cell": cell.name,
                    "round": number,
                    "contestant": name,
                    "steps": steps,
                    "seconds": seconds,
                    "losses": losses,
                }
            )
    return rows


def check_networks(built):
    """Raises a ValueError unless those that do our step have our networks.

    Args:
        built: `{contestant: what its worker replied}`.
    """
    ours = built[contestants.OURS]["parameters"]
    for name, entry in built.items():
        if not contestants.CONTESTANTS[name].same_step:
            continue
        if entry["parameters"] != ours:
            raise ValueError(
                "A contestant must have as many parameters as ours, generator "
                f"and discriminator. Received: {entry['parameters']} of {name},"
                f" {ours} of ours"
            )


def write(rows, output):
    """Puts a cell's rows in the place of its earlier ones, and the table."""
    raw = output.with_suffix(".jsonl")
    known = [json.loads(line) for line in _lines(raw)]
    names = {row["cell"] for row in rows}
    rows = [row for row in known if row["cell"] not in names] + rows
    order = list(contestants.CELLS)
    rows.sort(key=lambda row: order.index(row["cell"]))
    raw.write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = tables.markdown(tables.by_cell(rows))
    output.with_suffix(".md").write_text(page)


def _lines(path):
    return path.read_text().splitlines() if path.exists() else []


def _names(known):
    def names(text):
        found = text.split(",")
        for name in found:
            if name not in known:
                raise argparse.ArgumentTypeError(
                    f"must be of {', '.join(known)}. Received: {name}"
                )
        return found

    return names


if __name__ == "__main__":
    main()
