"""Draws what a run has left behind: losses, spectral norms and samples.

    python examples/plot_run.py RUN CURVES.png SAMPLES.png 1000 5000 20000

RUN is a workdir; the numbers are updates whose grids are shown. Needs
matplotlib.
"""

import argparse
import pathlib

import matplotlib
import panels

from sngan_tf import files
from sngan_tf import images as images_lib
from sngan_tf.runs import workdir as workdir_lib

matplotlib.use("Agg")

from matplotlib import pyplot as plt


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=workdir_lib.Workdir)
    parser.add_argument("curves", type=pathlib.Path)
    parser.add_argument("samples", type=pathlib.Path)
    parser.add_argument("updates", type=int, nargs="+")
    arguments = parser.parse_args()
    curves(
        files.read_rows(arguments.run.train_log),
        files.read_rows(arguments.run.spectral_norms),
        arguments.curves,
    )
    grids = [
        panels.captioned(
            images_lib.read_png(
                arguments.run.samples / f"step_{update:08d}.png"
            ),
            f"{update:,} updates",
        )
        for update in arguments.updates
    ]
    images_lib.save_png(arguments.samples, panels.tile(grids, columns=3))


def curves(rows, measured, path):
    """Draws losses, and norms where any were measured, at evaluations."""
    steps = [row["step"] for row in rows]
    figure, (losses, norms) = plt.subplots(2, figsize=(9, 8), sharex=True)
    for name in ("d_loss", "g_loss"):
        losses.plot(steps, [row[name] for row in rows], label=name)
    losses.set_ylabel("loss, mean since the last line of the log")
    steps = [row["step"] for row in measured]
    for name in measured[0]["spectral_norms"] if measured else ():
        values = [row["spectral_norms"][name] for row in measured]
        norms.plot(steps, values, ".-", label=name, linewidth=0.8)
    norms.set_ylabel("largest singular value of the kernel in effect")
    norms.set_xlabel("generator updates")
    for axes in (losses, norms):
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(ncols=4, fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
