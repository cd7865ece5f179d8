import math
import re

import pytest

from sngan_tf.runs import charts


def numbers(path):
    """Returns `(x, y)` of a path's points."""
    places = path.removeprefix("M").split("L")
    return [tuple(map(float, place.split())) for place in places]


def labels(ticks):
    return [label for _, label in ticks]


def test_values_lie_between_the_ticks_around_them():
    drawn = charts.chart("t", {"a": [(0, 1.0), (50, 2.0), (100, 3.0)]})
    (line,) = drawn.lines
    places = dict(zip(("low", "middle", "high"), numbers(line.path)))
    y = {label: place for place, label in drawn.y_ticks}
    x = {label: place for place, label in drawn.x_ticks}
    assert places["low"] == (x["0"], y["1.0"])
    assert places["high"] == (x["100"], y["3.0"])
    assert places["middle"][0] == pytest.approx((x["0"] + x["100"]) / 2, abs=1)
    assert places["middle"][1] == pytest.approx(y["2.0"])
    # Up is more.
    assert y["3.0"] < y["1.0"]


def test_points_stay_inside():
    drawn = charts.chart("t", {"a": [(7, -3.0), (9, 1e4), (30, 17.0)]})
    for line in drawn.lines:
        for x, y in numbers(line.path):
            assert drawn.left <= x <= drawn.right
            assert drawn.top <= y <= drawn.bottom


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((0.1, 0.2), ["0.10", "0.15", "0.20"]),
        ((0.0, 4.0), ["0", "1", "2", "3", "4"]),
        ((-1.0, 1.0), ["-1.0", "-0.5", "0.0", "0.5", "1.0"]),
        ((0.0, 20_000.0), ["0", "5,000", "10,000", "15,000", "20,000"]),
        ((1.0, 1000.0), ["1", "10", "100", "1,000"]),
        ((1.0, 30.0), ["1", "2", "5", "10", "20"]),
        ((1e-12, 1e12), ["1e-12", "1e-06", "1", "1e+06", "1e+12"]),
        ((1.0001, 1.0002), ["1.00010", "1.00015", "1.00020"]),
        ((2.0, 2.0), ["1.0", "1.5", "2.0", "2.5", "3.0"]),
    ],
)
def test_ticks_are_round(values, expected):
    drawn = charts.chart("t", {"a": [*enumerate(values)]})
    assert labels(drawn.y_ticks) == expected


def test_values_far_apart_have_a_logarithmic_scale():
    drawn = charts.chart("t", {"a": [(0, 1.0), (1, 10.0), (2, 100.0)]})
    assert drawn.is_log
    low, middle, high = (y for _, y in numbers(drawn.lines[0].path))
    assert middle == pytest.approx((low + high) / 2, abs=0.1)
    for values in ((-1.0, 100.0), (0.0, 100.0), (10.0, 100.0)):
        assert not charts.chart("t", {"a": [*enumerate(values)]}).is_log


def test_what_is_not_finite_is_left_out():
    series = {
        "a": [
            (0, math.nan),
            (1, 2.0),
            (2, math.inf),
            (3, None),
            (3, -1e300),
            (4, 4.0),
        ],
        "b": [(0, math.nan)],
        "c": [],
        "d": [(1, 3.0)],
    }
    drawn = charts.chart("t", series)
    assert [line.name for line in drawn.lines] == ["a", "d"]
    assert drawn.is_shared
    assert len(numbers(drawn.lines[0].path)) == 2
    # A line keeps its style whatever the others have.
    assert [line.style for line in drawn.lines] == [
        charts.style(0),
        charts.style(3),
    ]
    assert charts.chart("t", {"b": [(0, math.nan)], "c": []}) is None


def test_styles_differ():
    assert len({charts.style(i) for i in range(18)}) == 18


def test_long_series_are_means():
    series = {"a": [(i, float(i % 2)) for i in range(1000)]}
    drawn = charts.chart("t", series)
    found = numbers(drawn.lines[0].path)
    assert len(found) == 200
    # Of five neighbours two or three are 1.
    words = "a: from 0.4 to 0.6, at least 0.4, at most 0.6."
    assert drawn.words == f"t over generator updates. {words}"
    assert drawn.lines[0].points == ()


def test_few_points_are_marked():
    drawn = charts.chart("t", {"a": [(1, 5.0)]})
    (line,) = drawn.lines
    assert list(line.points) == numbers(line.path)
    assert re.fullmatch(r"M[\d.]+ [\d.]+", line.path)


def test_pairs_are_of_rows_that_have_the_key():
    rows = [{"step": 1, "a": 2}, {"step": 3}, {"step": 5, "a": 0}]
    assert charts.pairs(rows, "a") == [(1, 2), (5, 0)]
