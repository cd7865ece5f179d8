"""A contestant of the benchmarks that does nothing, or can't be built."""

import contestants


def build(cell, threads, parameters=(3, 2), refusal=""):
    if refusal:
        raise ImportError(f"{refusal}\nand more")
    print("what a library prints is no reply")
    return contestants.Built(
        lambda steps: {"d_loss": float(steps)},
        parameters,
        flop=int(1e9 * cell.width),
        note=f"{threads} threads",
    )
