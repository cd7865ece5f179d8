"""Figures of kernels: their spectra, and these over the updates of a run."""

import math

import numpy as np

from sngan_tf import errors
from sngan_tf import files

with errors.extra("train"):
    import matplotlib
    from matplotlib import figure as figure_lib

_MOST_COLUMNS = 8
_DPI = 110
_DARK, _LIGHT, _RED = "#1f4e79", "#9dc3e6", "#c00000"


def save(path, figure):
    """Writes a figure as a PNG, whole or not at all.

    Raises:
        UserError: If the disk refuses.
    """
    with errors.writing(path), files.replacing(path) as temporary:
        figure.savefig(temporary, dpi=_DPI)


def singular_values(network, title):
    """Returns the figure of a network's singular values (Fig. 3).

    Squared, the largest of each kernel as 1, against their number.

    Args:
        network: One of what `spectra.measure` returns.
        title: What it is of.
    """
    kernels = network["kernels"]
    columns = min(_MOST_COLUMNS, math.ceil(math.sqrt(len(kernels))))
    rows = -(-len(kernels) // columns)
    figure = _figure(
        (max(2.3 * columns, 6), 1.9 * rows + 0.9),
        f"{title}\nsquared singular values of each kernel, the largest as 1",
    )
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).flat
    for axes in panels[len(kernels) :]:
        axes.remove()
    for axes, (name, kernel) in zip(panels, kernels.items()):
        values = np.asarray(kernel["singular_values"])
        squares = (values / (values[0] or 1.0)) ** 2
        rank = kernel["effective_rank"]
        edges = np.arange(len(values) + 1) + 0.5
        axes.stairs(squares, edges, fill=True, color=_LIGHT)
        axes.stairs(squares, edges, color=_DARK)
        axes.axvline(rank + 0.5, color=_RED, linestyle="--", linewidth=1)
        axes.set_xlim(edges[0], edges[-1])
        axes.set_title(
            f"{name}\neffective rank {rank:.3g} of {len(values)}", fontsize=9
        )
        axes.set_ylim(0, 1.05)
        axes.xaxis.get_major_locator().set_params(integer=True)
    return figure


def operator_norms(network, title):
    """Returns the figure of each kernel's norm: of its matrix, and its map.

    Args:
        network: One of what `spectra.measure` returns.
        title: What it is of.
    """
    kernels = network["kernels"]
    places = np.arange(len(kernels))
    figure = _figure(
        (max(0.8 * len(kernels) + 2, 7), 4.5), f"{title}\n{_bounds(network)}"
    )
    axes = figure.subplots()
    matrix = [kernel["singular_values"][0] for kernel in kernels.values()]
    norms = [kernel.get("operator_norm") for kernel in kernels.values()]
    axes.plot(places, matrix, "o", color=_RED, label="norm of the matrix")
    known = [i for i, norm in enumerate(norms) if norm]
    lower = np.array([norms[i]["lower"] for i in known], float)
    upper = np.array([norms[i]["upper"] for i in known], float)
    if known:
        axes.vlines(known, lower, upper, color=_LIGHT, linewidth=8)
        axes.plot(known, lower, "^", color=_DARK, label="of the map, at least")
        axes.plot(known, upper, "v", color=_DARK, label="at most", mfc="none")
    positive = [x for x in (*matrix, *lower, *upper) if x > 0]
    if positive and max(positive) > 10 * min(positive):
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.set_xticks(places, [*kernels], rotation=40, ha="right", fontsize=9)
    axes.set_ylabel("norm of the kernel in effect")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize=9)
    return figure


def _bounds(network):
    """Returns the Lipschitz bounds of a network in words."""
    bounds = network.get("lipschitz")
    if not bounds:
        return f"no Lipschitz bound: {network['lipschitz_refused']}"
    lower, upper = bounds["lower"], bounds["upper"]
    return (
        f"its Lipschitz constant is at least {lower:.3g}, at most {upper:.3g}"
    )


def norms_over_updates(rows):
    """Returns Fig. 9 with effective ranks below, None without rows.

    Args:
        rows: Of `spectral_norms.jsonl`.
    """
    return _over_updates(
        [row for row in rows if row["spectral_norms"]],
        "the discriminator's kernels in effect",
        (
            ("spectral_norms", "largest singular value"),
            ("effective_ranks", "effective rank"),
        ),
    )


def gradients_over_updates(rows):
    """Returns lambda and the share over updates, None where not logged.

    Args:
        rows: Of `train.jsonl`.
    """
    return _over_updates(
        [row for row in rows if row.get("lambdas")],
        "the gradient in the discriminator's kernels in effect (Eq. 12)",
        (
            ("lambdas", "lambda"),
            ("gradient_shares", "share along u v^T"),
        ),
    )


def _over_updates(rows, title, panels):
    """Returns a figure of a panel for each of some dicts in the rows."""
    if not rows:
        return None
    figure = _figure((9, 7.5), title)
    several = figure.subplots(len(panels), sharex=True)
    for axes, (key, label) in zip(several, panels):
        found = [row for row in rows if key in row]
        names = {name: None for row in found for name in row[key]}
        colors = matplotlib.colormaps["viridis"](
            np.linspace(0, 0.92, len(names))
        )
        for name, color in zip(names, colors):
            line = [(r["step"], r[key][name]) for r in found if name in r[key]]
            axes.plot(*zip(*line), ".-", label=name, color=color, linewidth=1)
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
    several[-1].set_xlabel("generator updates")
    figure.legend(
        *several[0].get_legend_handles_labels(), loc="outside right upper"
    )
    return figure


def _figure(size, title):
    figure = figure_lib.Figure(figsize=size, layout="constrained")
    figure.suptitle(title, fontsize=11)
    return figure
