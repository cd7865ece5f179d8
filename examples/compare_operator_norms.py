r"""Shows how far trained discriminators stretch, layer by layer and as a whole.

    python examples/compare_operator_norms.py FIGURE.png RUN RUN ...

Each RUN is a workdir. Of every layer of its discriminator the figure has the
norm of the reshaped kernel, which the paper's normalization sets to 1; the norm
of the map that the layer is, from both sides; and how far the one may exceed
the other, sqrt(kh kw) at stride 1. On the right stands the Lipschitz constant
of the whole, between what a pair of inputs attains and what is guaranteed,
beside the product of the reshaped kernels' norms, which bounds nothing.
"""

import argparse
import math
import os
import pathlib
from typing import NamedTuple

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import matplotlib

import sngan_tf
from sngan_tf import certificates
from sngan_tf.layers import spectra
from sngan_tf.runs import workdir as workdir_lib

matplotlib.use("Agg")

from matplotlib import pyplot as plt


class Norms(NamedTuple):
    """Of one kernel: its matrix's, its map's from both sides, and its limit."""

    matrix: float
    lower: float
    upper: float
    limit: float


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("figure", type=pathlib.Path)
    parser.add_argument("runs", type=workdir_lib.Workdir, nargs="+")
    arguments = parser.parse_args()
    found = []
    for run in arguments.runs:
        gan = sngan_tf.load_run(run.path)
        title = f"{run.own_config().method}, {int(gan.step):,} updates"
        norms = of_layers(gan.discriminator)
        whole = certificates.lipschitz_bounds(gan.discriminator)
        print_table(title, norms, whole)
        found.append((title, norms, whole))
    draw(found, arguments.figure)


def of_layers(model):
    """Returns `{name: Norms}` of each kernel of a model, in effect."""
    matrices = spectra.spectral_norms(model)
    maps = certificates.operator_norms(model)
    return {
        kernel.name: Norms(
            matrices[kernel.name],
            maps[kernel.name].lower,
            maps[kernel.name].upper,
            matrices[kernel.name] * most_overlap(kernel.layer),
        )
        for kernel in spectra.named_kernels(model)
    }


def most_overlap(layer):
    """Returns how far the norm of a map can exceed that of its matrix.

    An input is read by at most ceil(k / s) positions along each axis.
    """
    sides = getattr(layer, "kernel_size", ())
    strides = getattr(layer, "strides", ())
    return math.sqrt(math.prod(-(-k // s) for k, s in zip(sides, strides)))


def print_table(title, norms, whole):
    print(title)
    print(f"  {'kernel':12}{'matrix':>9}{'map, from':>11}{'to':>9}{'limit':>9}")
    for name, row in norms.items():
        print(
            f"  {name:12}{row.matrix:9.3f}{row.lower:11.3f}{row.upper:9.3f}"
            f"{row.limit:9.3f}"
        )
    print(f"  Lipschitz constant from {whole.lower:.4g} to {whole.upper:.4g}")


def draw(found, path):
    """Draws a panel for each `(title, {name: Norms}, LipschitzBounds)`."""
    figure, panels = plt.subplots(
        1,
        len(found) + 1,
        figsize=(4.6 * len(found) + 3.4, 5),
        width_ratios=[3] * len(found) + [2],
        layout="constrained",
    )
    highest = max(row.limit for _, norms, _ in found for row in norms.values())
    for axes, (title, norms, _) in zip(panels, found):
        draw_layers(axes, norms)
        axes.set_title(title)
        axes.set_ylim(0, 1.05 * highest)
    panels[0].set_ylabel("norm in effect of each layer")
    draw_whole(panels[-1], found)
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=2,
        fontsize=9,
    )
    figure.savefig(path, dpi=110)


def draw_layers(axes, norms):
    places, rows = range(len(norms)), norms.values()
    axes.axhline(1.0, color="gray", linewidth=0.8, zorder=0)
    axes.bar(
        places,
        [row.upper for row in rows],
        0.6,
        color="tab:orange",
        alpha=0.7,
        label="true norm of the map, guaranteed from above",
    )
    axes.plot(
        places,
        [row.lower for row in rows],
        "k_",
        markersize=15,
        label="true norm of the map, attained from below",
    )
    axes.plot(
        places,
        [row.matrix for row in rows],
        "o",
        color="tab:blue",
        label="norm of the reshaped kernel",
    )
    axes.hlines(
        [row.limit for row in rows],
        [place - 0.35 for place in places],
        [place + 0.35 for place in places],
        color="tab:red",
        linestyle=":",
        label="most that a kernel of this matrix norm, size and stride can do",
    )
    axes.set_xticks(places, norms, rotation=45, ha="right")


def draw_whole(axes, found):
    places = range(len(found))
    wholes = [whole for *_, whole in found]
    naive = [
        math.prod(row.matrix for row in norms.values()) for _, norms, _ in found
    ]
    axes.bar(
        places,
        [whole.upper - whole.lower for whole in wholes],
        0.5,
        bottom=[whole.lower for whole in wholes],
        color="tab:orange",
        alpha=0.7,
    )
    axes.plot(places, [whole.lower for whole in wholes], "k_", markersize=28)
    axes.plot(places, naive, "o", color="tab:blue")
    for place, whole in zip(places, wholes):
        for value in (whole.lower, whole.upper):
            axes.annotate(
                f"{value:.3g}",
                (place, value),
                (0, 3),
                textcoords="offset points",
                ha="center",
            )
    axes.set_yscale("log")
    axes.use_sticky_edges = False
    axes.margins(y=0.1)
    axes.set_xlim(-0.75, len(found) - 0.25)
    axes.set_xticks(
        places, [title.partition(",")[0] for title, *_ in found], rotation=15
    )
    axes.set_title(
        "Lipschitz constant of the whole\n(dots: product of the kernels')"
    )


if __name__ == "__main__":
    main()
