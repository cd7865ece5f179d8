"""Scores of runs side by side, those of one measure in one table."""

from sngan_tf.metrics import scorer
from sngan_tf.runs import charts
from sngan_tf.runs import summary


def sections(scores, best):
    """Yields a dict of `caption`, `table` and `charts` for each measure.

    Args:
        scores: `{run: rows of its scores.jsonl}`.
        best: `{run: update of its best checkpoint}`, 0 without one.
    """
    of_runs = {name: summary.by_measure(rows) for name, rows in scores.items()}
    for measure in {m: None for found in of_runs.values() for m in found}:
        rows = {
            name: found[measure]
            for name, found in of_runs.items()
            if not all(map(summary.is_real, found.get(measure, ())))
        }
        if rows:
            yield {
                "caption": summary.caption(*measure),
                "table": _table(rows, best),
                "charts": _charts(rows, [*scores]),
            }


def _table(rows, best):
    """Returns header and lines of cells; a cell is of value and counts."""
    names = list(rows)
    columns = [
        (name, which, step)
        for name in names
        for which, step in summary.scored_steps(rows[name], best[name]).items()
    ]
    values = {
        (name, row["metric"], row["step"]): row
        for name in names
        for row in rows[name]
    }
    real = {row["metric"]: row for n in names for row in rows[n]}
    lines = []
    for metric in _metrics(rows):
        found = [values.get((name, metric, step)) for name, _, step in columns]
        found.append(real.get(f"real_{metric}"))
        cells = [
            (summary.shown(row), summary.counted(row) if row else "")
            for row in found
        ]
        lines.append((metric, _direction(metric), cells))
    header = [
        (name if len(best) > 1 else "", f"{which}, update {step:,}")
        for name, which, step in columns
    ]
    return {"header": [*header, ("", "real pictures")], "lines": lines}


def _charts(rows, names):
    """Returns charts of metrics, a line for each run that has values.

    Values of other counts of pictures are drawn apart, as they don't compare.
    """
    drawn = []
    for metric in _metrics(rows):
        of_metric = {
            name: [x for x in rows.get(name, ()) if x["metric"] == metric]
            for name in names
        }
        counts = dict.fromkeys(
            summary.counted(row) for f in of_metric.values() for row in f
        )
        for counted in counts:
            series = {
                name: sorted(
                    (row["step"], row["value"])
                    for row in found
                    if summary.counted(row) == counted
                )
                for name, found in of_metric.items()
            }
            if max(map(len, series.values())) > 1:
                title = f"{metric}{_direction(metric)}, {counted}"
                drawn.append(charts.chart(title, series))
    return [chart for chart in drawn if chart]


def _metrics(rows):
    """Returns the names of what generated pictures were scored by."""
    return dict.fromkeys(
        row["metric"]
        for found in rows.values()
        for row in found
        if not summary.is_real(row)
    )


def _direction(metric):
    for row in scorer.METRICS.values():
        if metric in map(row.name.format, scorer.KINDS):
            better = "higher" if row.more_is_better else "lower"
            return f" ({better} is better)"
    return ""
