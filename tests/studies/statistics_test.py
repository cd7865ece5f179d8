import math

import numpy as np
import pytest
import scipy.stats

from sngan_tf.studies import statistics


def row(cell, seed, step, metric, value, **factors):
    return {
        "cell": cell,
        "seed": float(seed),
        "step": float(step),
        "metric": metric,
        "value": value,
        **factors,
    }


def test_spread_and_interval_are_those_of_a_t_test():
    ours, theirs = np.random.default_rng(0).normal(size=(2, 5))
    mean, deviation = statistics.spread(ours)
    assert mean == pytest.approx(np.mean(ours))
    assert deviation == pytest.approx(np.std(ours, ddof=1))
    pairs = statistics.differences(
        dict(enumerate(ours)), dict(enumerate(theirs))
    )
    mean, half = statistics.interval(pairs)
    expected = scipy.stats.ttest_rel(theirs, ours).confidence_interval(0.95)
    assert (mean - half, mean + half) == pytest.approx(tuple(expected))


def test_one_value_has_no_spread():
    assert statistics.spread([2.0])[0] == 2.0
    assert math.isnan(statistics.spread([2.0])[1])
    assert math.isnan(statistics.interval([2.0])[1])
    assert math.isnan(statistics.spread([])[0])


def test_differences_are_of_seeds_that_both_have():
    assert statistics.differences(
        {0: 1.0, 2: 5.0, 3: 1.0}, {2: 3.0, 0: 2.0}
    ) == [
        1.0,
        -2.0,
    ]


def test_last_step_counts():
    rows = [
        row("a", 0, 20, "classifier_score", 5.0),
        row("a", 0, 10, "classifier_score", 9.0),
        row("b", 1, 20, "classifier_score", 6.0),
    ]
    assert statistics.by_seed(rows) == {0: 5.0, 1: 6.0}
    assert statistics.by_seed(rows, last=2) == {0: 7.0, 1: 6.0}
    assert statistics.by_step(rows) == {10: {0: 9.0}, 20: {0: 5.0, 1: 6.0}}


def test_scores_are_of_either_network_and_of_real_pictures_apart():
    names = (
        "classifier_score",
        "inception_score",
        "real_classifier_score",
        "failed",
    )
    rows = [row("a", 0, 1, name, 1.0) for name in names]
    assert statistics.scores(rows, "score") == rows[:2]
    assert statistics.scores(rows, "score", real=True) == rows[2:3]
    assert statistics.scores(rows, "failed") == rows[3:]


def test_collapsed_are_those_that_failed_or_lost_their_variety():
    rows = [
        row("a", 0, 10, "classifier_score", 1.0),
        row("a", 0, 20, "classifier_score", 5.0),
        row("a", 0, 20, "failed", 0.0),
        row("b", 1, 10, "classifier_score", 5.0),
        row("b", 1, 20, "classifier_score", 1.9),
        row("b", 1, 20, "failed", 0.0),
        row("c", 2, 10, "classifier_score", 8.0),
        row("c", 2, 10, "failed", 1.0),
    ]
    assert statistics.collapsed(rows, below=2.0) == (2, 3)
    assert statistics.failed(rows) == (1, 3)
    assert statistics.last_scores(rows) == {"a": 5.0, "b": 1.9, "c": 8.0}
    assert statistics.collapse(rows, 0.25) == 1 + 0.25 * 7


def test_rows_are_selected_by_what_they_have():
    rows = [
        row("a", 0, 1, "x", 1.0, method="none"),
        row("b", 1, 1, "x", 2.0, method="other"),
        row("real", 0, 0, "x", 3.0, method=""),
    ]
    assert statistics.select(rows, method="none") == rows[:1]
    assert statistics.select(rows, method=None, seed=0.0) == rows[::2]
    assert statistics.levels(rows, "method") == ["none", "other"]
