"""Figures of a study, from its rows alone."""

import numpy as np

from sngan_tf import errors
from sngan_tf.metrics import scorer
from sngan_tf.studies import statistics

with errors.extra("train"):
    import matplotlib
    from matplotlib import figure as figure_lib
    from matplotlib import ticker

_LABELS = {
    "lambda": r"$\lambda = \langle G, \bar{W} \rangle$, mean of kernels",
    "lipschitz/upper": "Lipschitz constant, at most",
    "estimate": r"$\sigma(W)$, mean of kernels",
    "gradient_share": r"share of $|G|^2$ along $u v^T$, mean of kernels",
}
_COLUMNS = 6
# Top over bottom of a logarithmic axis, above which 1, 3, 10, 30, ... alone are
# numbered.
_CROWDED = 200


def curves(
    rows,
    title,
    metric="frechet_distance",
    line="method",
    panel="setting",
    log=False,
):
    """Returns a metric over updates: mean of seeds, and each seed faintly.

    Args:
        rows: Of a study.
        title: What it shows.
        metric: As of `statistics.scores`; or one of `measures`, of which the
            mean over kernels is drawn.
        line: Factor whose levels are lines.
        panel: Factor whose levels are panels; None for one.
        log: Whether the metric's axis is logarithmic.
    """
    places = statistics.levels(rows, panel) if panel else [None]
    figure = _figure(title, len(places), height=3.9)
    panels = figure.subplots(1, len(places), squeeze=False, sharey=True)[0]
    names = statistics.levels(rows, line)
    for axes, place in zip(panels, places):
        some = statistics.select(rows, **{panel: place}) if panel else rows
        for name, color in zip(names, _colors(len(names))):
            found = _over_steps(statistics.select(some, **{line: name}), metric)
            if not found:
                continue
            for seed in {seed for values in found.values() for seed in values}:
                points = [(s, v[seed]) for s, v in found.items() if seed in v]
                axes.plot(*zip(*points), color=color, alpha=0.25, linewidth=0.8)
            means = [np.mean([*values.values()]) for values in found.values()]
            axes.plot([*found], means, ".-", color=color, label=name)
        if panel:
            axes.set_title(f"{panel} {place}", fontsize=10)
        axes.set_xlabel("generator updates")
        axes.grid(alpha=0.3)
        if log:
            _log_scale(axes)
    panels[0].set_ylabel(_label(metric))
    _legend(figure, panels)
    return figure


def by_level(
    rows,
    title,
    metric="frechet_distance",
    x="setting",
    line="method",
    log=False,
    ceiling=None,
):
    """Returns last values at each level: a dot for each seed, and the mean.

    Args:
        rows: Of a study.
        title: What it shows.
        metric: As of `statistics.scores`.
        x: Factor whose levels stand side by side.
        line: Factor whose levels have colours.
        log: Whether the metric's axis is logarithmic.
        ceiling: Values above it, and cells that failed, are drawn there.
    """
    figure = _figure(title, 1, width=10, height=4.6)
    axes = figure.subplots()
    places, names = statistics.levels(rows, x), statistics.levels(rows, line)
    for j, (name, color) in enumerate(zip(names, _colors(len(names)))):
        shift = (j - (len(names) - 1) / 2) * 0.8 / len(names)
        for i, place in enumerate(places):
            some = statistics.select(rows, **{x: place, line: name})
            found = statistics.by_seed(statistics.scores(some, metric))
            values = [*found.values()]
            has, _ = statistics.failed(some)
            if ceiling is not None:
                values = [min(v, ceiling) for v in values] + [ceiling] * max(
                    0, has - len(values)
                )
            style = {"color": color, "label": name if i == 0 else None}
            at = np.full(len(values), i + shift)
            marks = ["x" if has else "o"]
            axes.plot(at, values, marks[0], markersize=4, alpha=0.7, **style)
            if values:
                axes.hlines(
                    np.mean(values),
                    i + shift - 0.03,
                    i + shift + 0.03,
                    color=color,
                )
    for i in range(1, len(places)):
        axes.axvline(i - 0.5, color="black", alpha=0.15, linewidth=0.8)
    axes.set_xticks(range(len(places)), places)
    axes.set_xlabel(x)
    axes.set_ylabel(_label(metric))
    axes.grid(axis="y", alpha=0.3)
    if log:
        _log_scale(axes)
    _legend(figure, [axes])
    return figure


def against(
    rows,
    title,
    x,
    metric="frechet_distance",
    line="method",
    log=False,
):
    """Returns last values over a factor of numbers: mean and deviation.

    Args:
        rows: Of a study.
        title: What it shows.
        x: The factor, its levels numbers; on a logarithmic axis.
        metric: As of `statistics.scores`.
        line: Factor whose levels are lines.
        log: Whether the metric's axis is logarithmic.
    """
    figure = _figure(title, 1, width=6.5, height=4.2)
    axes = figure.subplots()
    names, places = statistics.levels(rows, line), statistics.levels(rows, x)
    for name, color in zip(names, _colors(len(names))):
        points = []
        for place in places:
            some = statistics.select(rows, **{x: place, line: name})
            values = statistics.by_seed(
                statistics.scores(some, metric)
            ).values()
            if values:
                points.append((float(place), *statistics.spread(values)))
        if points:
            at, means, deviations = map(np.array, zip(*points))
            axes.plot(at, means, "o-", color=color, label=name)
            low, high = means - deviations, means + deviations
            axes.fill_between(at, low, high, color=color, alpha=0.15)
    axes.set_xscale("log", base=2)
    numbers = [float(place) for place in places]
    axes.set_xticks(numbers, places)
    axes.minorticks_off()
    axes.set_xlabel(x.replace("_", " "))
    axes.set_ylabel(_label(metric))
    axes.grid(alpha=0.3)
    if log:
        _log_scale(axes)
    _legend(figure, [axes])
    return figure


def paired(
    rows,
    title,
    base,
    metric="frechet_distance",
    factor="method",
    within="setting",
    last=1,
):
    """Returns paired differences to a level, dots and 95 % intervals.

    Args:
        rows: Of a study.
        title: What it shows.
        base: As of `tables.differences`.
        metric: As of `statistics.scores`.
        factor: As of `tables.differences`.
        within: As of `tables.differences`.
        last: As of `statistics.by_seed`.
    """
    found = [*statistics.pairs(rows, metric, base, factor, within, last)]
    levels = [*dict.fromkeys(level for _, level, _ in found)]
    colors = dict(zip(levels, _colors(len(levels))))
    figure = _figure(title, 1, width=8, height=1.2 + 0.45 * len(found))
    axes = figure.subplots()
    for at, (_, level, pairs) in enumerate(found):
        mean, half = statistics.interval(pairs)
        style = {"color": colors[level]}
        axes.plot(pairs, [at] * len(pairs), "o", alpha=0.4, **style)
        if pairs:
            axes.errorbar(mean, at, xerr=half, fmt="d", capsize=4, **style)
    labels = [f"{level}, {within} {place}" for place, level, _ in found]
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    axes.set_xlabel(
        f"{statistics.NAMES.get(metric, metric)}, minus that of {base}"
    )
    return figure


def spectra(
    rows, title, line="method", metric="frechet_distance", same_score=True
):
    """Returns squared singular values of each kernel (Fig. 3).

    Of each level the first seed, at the step whose score is nearest to the best
    that the worst of them reached, or at its own best. The largest of each
    kernel counts as 1.

    Args:
        rows: Of a study with `measures.singular_values`.
        title: What it shows.
        line: Factor whose levels are lines.
        metric: A name of `scorer.METRICS`, of which less is better.
        same_score: Whether all are at about one score; else each is at its
            best, as the paper has it.
    """
    rows = statistics.select(rows, seed=min(row["seed"] for row in rows))
    names = statistics.levels(rows, line)
    found = {}
    for name in names:
        some = statistics.select(rows, **{line: name})
        found[name] = {
            row["step"]: row["value"] for row in statistics.scores(some, metric)
        }
    best = {name: min(f.values()) for name, f in found.items() if f}
    aims = dict.fromkeys(best, max(best.values())) if same_score else best
    at = {
        name: min(found[name], key=lambda s: (abs(found[name][s] - aim), s))
        for name, aim in aims.items()
    }
    prefix = "singular_values/"
    kernels = dict.fromkeys(
        row["metric"].removeprefix(prefix)
        for row in rows
        if row["metric"].startswith(prefix)
    )
    kernels = [k for k in kernels if k != "dense"]
    figure = _figure(title, len(kernels), width=2.1 * len(kernels), height=3.2)
    panels = figure.subplots(1, len(kernels), squeeze=False, sharey=True)[0]
    for axes, kernel in zip(panels, kernels):
        for name, color in zip(names, _colors(len(names))):
            some = statistics.select(
                rows,
                **{
                    line: name,
                    "metric": f"singular_values/{kernel}",
                    "step": at.get(name),
                },
            )
            for row in some[:1]:
                values = np.array(row["values"])
                squares = (values / (values[0] or 1.0)) ** 2
                label = (
                    f"{name}: update {int(at[name]):,}, "
                    f"{found[name][at[name]]:.3g}"
                )
                axes.plot(
                    np.arange(1, len(squares) + 1),
                    squares,
                    color=color,
                    label=label,
                )
        axes.set_title(kernel, fontsize=10)
        axes.grid(alpha=0.3)
        axes.set_xlabel("number")
    panels[0].set_ylabel("squared singular value")
    _legend(figure, panels[:1])
    return figure


def norms(rows, title, line="method"):
    """Returns the exact spectral norm of each kernel over updates (Fig. 9).

    In effect, so that where one power iteration an update keeps up they stand
    at 1; one panel for each level that has such.

    Args:
        rows: Of a study with `measures.spectral_norms`.
        title: What it shows.
        line: Factor whose levels are panels.
    """
    rows = statistics.scores(rows, "spectral_norm")
    rows = statistics.select(rows, seed=min(row["seed"] for row in rows))
    names = statistics.levels(rows, line)
    figure = _figure(title, len(names), height=3.9)
    panels = figure.subplots(1, len(names), squeeze=False)[0]
    for axes, name in zip(panels, names):
        some = statistics.select(rows, **{line: name})
        some.sort(key=lambda row: row["step"])
        kernels = some[0]["note"].split()
        steps = [row["step"] for row in some]
        values = np.array([row["values"] for row in some])
        shades = matplotlib.colormaps["viridis"](
            np.linspace(0, 0.92, len(kernels))
        )
        for kernel, color, norm in zip(kernels, shades, values.T):
            axes.plot(steps, norm, ".-", color=color, label=kernel)
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("generator updates")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("exact spectral norm in effect")
    _legend(figure, panels[:1])
    return figure


def _over_steps(rows, metric):
    """Returns `{step: {seed: value}}`; of lists, the mean."""
    scored = statistics.scores(rows, metric)
    return statistics.by_step(
        {**row, "value": float(np.mean(row["values"]))}
        if row["values"]
        else row
        for row in scored
    )


def _label(metric):
    if metric not in scorer.METRICS:
        return _LABELS.get(metric, metric)
    better = "higher" if scorer.METRICS[metric].more_is_better else "lower"
    return f"{statistics.NAMES.get(metric, metric)} ({better} is better)"


def _figure(title, panels, width=None, height=3.6):
    width = width or max(6.0, 3.6 * panels + 1.0)
    figure = figure_lib.Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(title, fontsize=11)
    return figure


def _log_scale(axes):
    """Makes the vertical axis logarithmic, its numbers as the rest has them."""

    def between(value, _):
        low, high = axes.get_ylim()
        number = f"{value:g}"
        return number if high <= _CROWDED * low or "3" in number else ""

    axes.set_yscale("log")
    axes.yaxis.set_minor_locator(ticker.LogLocator(subs=(1.5, 2, 3, 5, 7)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(between)


def _colors(count):
    name = "tab10" if count <= 10 else "tab20"
    return [matplotlib.colormaps[name](i) for i in range(count)]


def _legend(figure, panels):
    found = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels()):
            found.setdefault(label, handle)
    if found:
        columns = min(len(found), _COLUMNS)
        figure.legend(
            [*found.values()],
            [*found],
            loc="outside lower center",
            ncols=columns,
            fontsize=8,
        )
