"""Tables of a study, as lines of Markdown."""

import math

from sngan_tf.studies import statistics


def crossed(rows, metric, row="method", column="setting", collapse=None):
    """Returns a table of a score's last values: mean ± standard deviation.

    Args:
        rows: Of a study.
        metric: As of `statistics.scores`.
        row: Factor down the table.
        column: Factor across.
        collapse: Share of `statistics.collapse`. Where it is given, how many
            cells of all collapsed stands behind, and else how many failed.
    """
    below = None
    if collapse is not None:
        below = statistics.collapse(rows, collapse)
    across = statistics.levels(rows, column)
    lines = [[row, *(f"{column} {level}" for level in across)]]
    for level in statistics.levels(rows, row):
        cells = [
            _entry(
                statistics.select(rows, **{row: level, column: other}),
                metric,
                below,
            )
            for other in across
        ]
        lines.append([f"`{level}`", *cells])
    return _markdown(lines)


def scores(rows, factors, metrics=("score", "frechet_distance"), last=1):
    """Returns a table with a column for each metric.

    Real pictures come last, where all are scored by one network.

    Args:
        rows: Of a study.
        factors: Names, whose combinations are the lines.
        metrics: As of `statistics.scores`.
        last: As of `statistics.by_seed`.
    """
    lines = [
        [*factors, *(statistics.NAMES.get(m, m) for m in metrics), "seeds"]
    ]
    combinations = dict.fromkeys(
        tuple(row[factor] for factor in factors)
        for row in rows
        if row.get(factors[0])
    )
    for chosen in combinations:
        some = statistics.select(rows, **dict(zip(factors, chosen)))
        entries = [_entry(some, metric, last=last) for metric in metrics]
        _, count = statistics.failed(some)
        lines.append(
            [*(f"`{level}`" for level in chosen), *entries, str(count)]
        )
    standing = [statistics.scores(rows, m, real=True) for m in metrics]
    by = {row.get("features") for row in rows if row.get("features")}
    if any(standing) and len(by) == 1:
        values = [
            _number(some[-1]["value"]) if some else "" for some in standing
        ]
        lines.append(["real pictures", *[""] * (len(factors) - 1), *values, ""])
    return _markdown(lines)


def differences(rows, metric, base, factor="method", within="setting", last=1):
    """Returns paired differences to a level, with their 95 % intervals.

    Pairs are of one seed, which both cells have their pictures, latents and
    first weights of.

    Args:
        rows: Of a study.
        metric: As of `statistics.scores`.
        base: Level of the factor that others are compared with.
        factor: Its name.
        within: Factor that is equal in a pair.
        last: As of `statistics.by_seed`.
    """
    lines = [
        [within, f"minus `{base}`", "difference", "95 % interval", "pairs"]
    ]
    found = statistics.pairs(rows, metric, base, factor, within, last)
    for place, level, pairs in found:
        mean, half = statistics.interval(pairs)
        between = f"{mean - half:+.3g} to {mean + half:+.3g}"
        lines.append(
            [
                place,
                f"`{level}`",
                f"{mean:+.3g}" if pairs else "",
                "" if math.isnan(half) else between,
                str(len(pairs)),
            ]
        )
    return _markdown(lines)


def made_of(rows):
    """Returns what the numbers are of: counts, network, commits, hours.

    Rows without a machine's rate are of an accelerator, which the note of each
    cell's end names.
    """

    def of(column):
        return [*dict.fromkeys(r[column] for r in rows if r.get(column))]

    scored = [row for row in rows if row["num_fake"]]
    cells = {row["cell"]: row for row in rows if row["metric"] == "failed"}
    hours = sum(row["seconds"] for row in cells.values()) / 3600
    rates = [row["gflops"] for row in cells.values() if row["gflops"]]
    if rates:
        ends = dict.fromkeys(f"{f(rates):.0f}" for f in (min, max))
        machine = (
            "of one thread each beside another; matrix product "
            f"{' to '.join(ends)} GFLOP/s"
        )
    else:
        notes = dict.fromkeys(row["note"] for row in cells.values())
        machine = f"on {', '.join(notes)}"
    updates = sorted({int(row["updates"]) for row in cells.values()})
    command = (of("command") or [""])[0].partition(" --cells")[0]
    counts = dict.fromkeys(
        f"{int(r['num_fake']):,} generated, {int(r['num_real'] or 0):,} real"
        for r in scored
        if r["num_real"]
    )
    return [
        f"- Command: `{command}`",
        f"- Commits: {', '.join(of('commit'))}.",
        f"- Cells: {len(cells)}; updates "
        f"{', '.join(f'{n:,}' for n in updates)}; {_hours(hours)} {machine}.",
        f"- Scores: protocol {', '.join(of('protocol'))}, "
        f"{'; '.join(counts)} of {', '.join(of('reference'))}, by "
        f"{', '.join(of('features'))}.",
    ]


def _hours(hours):
    return f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.0f} minutes"


def _entry(rows, metric, below=None, last=1):
    found = statistics.by_seed(statistics.scores(rows, metric), last)
    values = found.values()
    mean, deviation = statistics.spread(values)
    text = "" if math.isnan(mean) else _number(mean)
    if not math.isnan(deviation):
        text += f" ± {_number(deviation)}"
    has, count = statistics.failed(rows)
    word = "failed"
    if below is not None:
        has, count = statistics.collapsed(rows, below)
        word = "collapsed"
    return f"{text} ({has} of {count} {word})".strip() if has else text


def _number(value):
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def _markdown(lines):
    header, *body = lines
    rows = [header, ["---"] * len(header), *body]
    return ["| " + " | ".join(cells) + " |" for cells in rows]
