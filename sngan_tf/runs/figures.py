"""Figures of kernels: their spectra, and these over the updates of a run."""

import math
import textwrap

import numpy as np

from sngan_tf import errors
from sngan_tf import files

with errors.extra("train"):
    import matplotlib
    from matplotlib import figure as figure_lib

_MOST_COLUMNS = 8
_DPI = 110
_TITLE_WIDTH = 90
# In the figure of shares: what lies below is as good as nothing.
_LEAST_SHARE = 1e-5
_WINDOWS = 15  # Of running medians, in a whole run.
_DARK, _LIGHT, _RED = "#1f4e79", "#9dc3e6", "#c00000"


def save(path, figure, source=""):
    """Writes a figure as a PNG, whole or not at all.

    Args:
        path: Of the file.
        figure: Matplotlib's.
        source: What it was drawn from, kept in the file as `Source`.

    Raises:
        UserError: If the disk refuses.
    """
    metadata = {"Source": source} if source else None
    with errors.writing(path), files.replacing(path) as temporary:
        figure.savefig(temporary, dpi=_DPI, metadata=metadata)


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
        f"{title}\nsquared singular values of each kernel, the largest as 1; "
        "dashed: effective rank",
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
    figure = _figure(
        (max(0.8 * len(kernels) + 2, 7), 4.5), f"{title}\n{_bounds(network)}"
    )
    axes = figure.subplots()
    _draw_norms(axes, kernels.values())
    axes.set_xticks(
        range(len(kernels)), [*kernels], rotation=40, ha="right", fontsize=9
    )
    axes.set_ylabel("norm of the kernel in effect")
    axes.grid(axis="y", alpha=0.3)
    figure.legend(loc="outside lower center", ncols=3, fontsize=9)
    return figure


def _draw_norms(axes, kernels):
    """Draws norms of matrices, and of maps where they are known."""
    matrix = [kernel["singular_values"][0] for kernel in kernels]
    norms = [kernel.get("operator_norm") for kernel in kernels]
    known = [i for i, norm in enumerate(norms) if norm]
    lower = np.array([norms[i]["lower"] for i in known], float)
    upper = np.array([norms[i]["upper"] for i in known], float)
    tops = np.where(np.isfinite(upper), upper, lower)
    axes.vlines(known, [matrix[i] for i in known], tops, color=_LIGHT, lw=6)
    for values, marker, size, label in (
        (upper, "_", 18, "norm of its map, never exceeded"),
        (lower, "^", 7, "norm of its map, attained"),
    ):
        style = {"color": _DARK, "markersize": size, "mew": 2}
        axes.plot(known, values, marker, label=label, **style)
    axes.plot(
        range(len(matrix)), matrix, "o", color=_RED, label="norm of its matrix"
    )
    positive = [x for x in (*matrix, *lower, *tops) if x > 0]
    if positive and max(positive) > 10 * min(positive):
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)


def _bounds(network):
    """Returns the Lipschitz bounds of a network in words."""
    bounds = network.get("lipschitz")
    if not bounds:
        reason = f"no Lipschitz bound: {network['lipschitz_refused']}"
        return textwrap.fill(reason, _TITLE_WIDTH)
    lower, upper = bounds["lower"], bounds["upper"]
    return (
        f"its Lipschitz constant is at least {lower:,.4g}, at most {upper:,.4g}"
    )


def norms_over_updates(rows):
    """Returns Fig. 9 with effective ranks below, None without rows.

    Args:
        rows: Of `spectral_norms.jsonl`.
    """
    rows = [row for row in rows if row["spectral_norms"]]
    if not rows:
        return None
    figure, (norms, ranks) = _two_panels("discriminator, kernels in effect")
    _draw_lines(norms, rows, "spectral_norms")
    norms.set_ylabel("largest singular value")
    _draw_lines(ranks, rows, "effective_ranks")
    ranks.set_ylabel("effective rank")
    ranks.set_yscale("log", base=2)
    ranks.yaxis.set_major_formatter("{x:g}")
    return figure


def gradients_over_updates(rows):
    """Returns lambda and the share over updates, None where not logged.

    They vary much, so that in a long log lines are running medians, and dots
    each value.

    Args:
        rows: Of `train.jsonl`.
    """
    rows = [row for row in rows if row.get("lambdas")]
    if not rows:
        return None
    width = max(1, len(rows) // _WINDOWS)
    title = "discriminator, gradient G in the kernels in effect (Eq. 12)"
    if width > 1:
        title += f"\ndots: each line of the log; lines: medians of {width}"
    figure, (lambdas, shares) = _two_panels(title)
    _draw_lines(lambdas, rows, "lambdas", width)
    lambdas.axhline(0, color="black", linewidth=0.8)
    lambdas.set_ylabel(r"$\lambda = \langle G, \bar{W} \rangle$")
    _draw_lines(shares, rows, "gradient_shares", width)
    shares.set_ylabel(r"share of $|G|^2$ along $u v^T$")
    shares.set_yscale("log")
    shares.set_ylim(_LEAST_SHARE, 1.5)
    return figure


def _two_panels(title):
    figure = _figure((9, 7.5), title)
    panels = figure.subplots(2, sharex=True)
    panels[-1].set_xlabel("generator updates")
    return figure, panels


def _draw_lines(axes, rows, key, width=1):
    """Draws a line for each kernel, darker the earlier it stands.

    Args:
        axes: Where.
        rows: With `step`, and some with a dict of values under the key.
        key: Of these.
        width: Of running medians, values faint behind them; 1 for none.
    """
    rows = [row for row in rows if key in row]
    names = {name: None for row in rows for name in row[key]}
    shades = np.linspace(0, 0.92, len(names))
    for name, color in zip(names, matplotlib.colormaps["viridis"](shades)):
        points = [(r["step"], r[key][name]) for r in rows if name in r[key]]
        steps, values = map(np.array, zip(*points))
        style = {"color": color, "label": name}
        if width == 1 or len(values) < width:
            axes.plot(steps, values, ".-", linewidth=1, **style)
            continue
        axes.plot(steps, values, ".", color=color, alpha=0.2, markersize=4)
        windows = np.lib.stride_tricks.sliding_window_view
        axes.plot(
            np.mean(windows(steps, width), axis=-1),
            np.median(windows(values, width), axis=-1),
            **style,
        )
    axes.grid(alpha=0.3)
    if names:
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=9)


def _figure(size, title):
    figure = figure_lib.Figure(figsize=size, layout="constrained")
    figure.suptitle(title, fontsize=11)
    return figure
