"""Rows of a study by level, step and seed, with their spread."""

import math

import numpy as np

from sngan_tf import errors
from sngan_tf.metrics import scorer

with errors.extra("train"):
    from scipy import stats

CONFIDENCE = 0.95
# Of `scorer.METRICS`, what readers call those whose own name doesn't do.
NAMES = {
    "frechet_distance": "Frechet distance",
    "intra_class_frechet_distance": "intra-class Frechet distance",
    "kernel_distance": "kernel distance",
}


def levels(rows, factor):
    """Returns the levels of a factor, in the order of the rows."""
    return [*dict.fromkeys(row[factor] for row in rows if row.get(factor))]


def select(rows, **wanted):
    """Returns the rows whose columns have these values.

    Args:
        rows: Of a table.
        **wanted: `column=value`; None stands for any.
    """
    wanted = {key: value for key, value in wanted.items() if value is not None}
    return [
        row
        for row in rows
        if all(row.get(key) == value for key, value in wanted.items())
    ]


def scores(rows, metric, real=False):
    """Returns the rows of a metric, of whichever feature network.

    Args:
        rows: Of a table.
        metric: A name of `scorer.METRICS`, or as the rows have it.
        real: Whether those of real pictures.
    """
    names = {metric}
    if metric in scorer.METRICS:
        names = {scorer.name_of(metric, kind) for kind in scorer.KINDS}
    prefix = "real_" if real else ""
    return [row for row in rows if row["metric"] in {prefix + n for n in names}]


def by_seed(rows, last=1):
    """Returns `{seed: value}`, of each the mean of its last steps.

    Args:
        rows: Of one metric.
        last: How many steps; more than one where single ones vary much.
    """
    found = {}
    for row in sorted(rows, key=lambda row: row["step"]):
        found.setdefault(int(row["seed"]), []).append(row["value"])
    return {seed: float(np.mean(v[-last:])) for seed, v in found.items()}


def by_step(rows):
    """Returns `{step: {seed: value}}`, steps in order."""
    found = {}
    for row in sorted(rows, key=lambda row: row["step"]):
        found.setdefault(int(row["step"]), {})[int(row["seed"])] = row["value"]
    return found


def failed(rows):
    """Returns how many cells of the rows failed, and how many there are."""
    ends = [row["value"] for row in rows if row["metric"] == "failed"]
    return int(sum(ends)), len(ends)


def last_scores(rows):
    """Returns `{cell: score}`, of each the last."""
    ordered = sorted(scores(rows, "score"), key=lambda row: row["step"])
    return {row["cell"]: row["value"] for row in ordered}


def collapse(rows, share):
    """Returns the score under which a cell counts as collapsed.

    A score of 1 is that of no variety; this is so much of the way from there
    to the best cell's. The paper has no such number; this is our choice.

    Args:
        rows: Of a whole table.
        share: In (0, 1).
    """
    return 1 + share * (max(last_scores(rows).values()) - 1)


def collapsed(rows, below):
    """Returns how many cells collapsed, and how many there are.

    Those that failed, and those whose last score is lower than a limit.

    Args:
        rows: Of a table.
        below: The limit, as of `collapse`.
    """
    ends = {row["cell"]: row["value"] for row in select(rows, metric="failed")}
    last = last_scores(rows)
    count = sum(
        bool(has) or last.get(cell, -math.inf) < below
        for cell, has in ends.items()
    )
    return count, len(ends)


def spread(values):
    """Returns mean and sample standard deviation, nan for that of one."""
    values = np.asarray([*values], float)
    if not len(values):
        return math.nan, math.nan
    deviation = values.std(ddof=1) if len(values) > 1 else math.nan
    return float(values.mean()), float(deviation)


def interval(values, confidence=CONFIDENCE):
    """Returns mean and half the width of its interval, by Student's t."""
    mean, deviation = spread(values)
    count = len(values)
    if count < 2:
        return mean, math.nan
    quantile = stats.t.ppf((1 + confidence) / 2, count - 1)
    return mean, float(quantile * deviation / math.sqrt(count))


def pairs(rows, metric, base, factor, within, last=1):
    """Yields `(place, level, differences)` of all levels but the base.

    Args:
        rows: Of a table.
        metric: As of `scores`.
        base: Level of the factor that others are compared with.
        factor: Its name.
        within: Factor that is equal in a pair; each of its levels is a place.
        last: As of `by_seed`.
    """
    for place in levels(rows, within):
        some = select(scores(rows, metric), **{within: place})
        found = {
            level: by_seed(select(some, **{factor: level}), last)
            for level in levels(rows, factor)
        }
        for level in [name for name in found if name != base]:
            yield place, level, differences(found.get(base, {}), found[level])


def differences(ours, theirs):
    """Returns theirs minus ours, of each seed that both have."""
    return [theirs[seed] - ours[seed] for seed in ours if seed in theirs]
