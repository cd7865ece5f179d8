import itertools

import numpy as np
import pytest

from sngan_tf.studies import figures


def row(metric, value=None, method="ours", seed=0, step=1, **values):
    return {
        "cell": f"{method}-{seed}",
        "method": method,
        "seed": float(seed),
        "step": float(step),
        "metric": metric,
        "value": value,
        "values": [],
        **values,
    }


def lines(axes, label):
    return {
        tuple(line.get_xdata()): tuple(line.get_ydata())
        for line in axes.get_lines()
        if line.get_label() == label
    }


@pytest.fixture
def drawn(tmp_path):
    """Draws a figure, as some mistakes show only then; returns its axes."""

    def axes(figure):
        figure.savefig(tmp_path / "figure.png")
        assert (tmp_path / "figure.png").stat().st_size > 1_000
        return figure.axes

    return axes


def distances(method, seed, values, **factors):
    return [
        row("frechet_classifier_distance", v, method, seed, step, **factors)
        for step, v in enumerate(values, start=1)
    ]


def test_curves_are_means_of_seeds(drawn):
    rows = [
        *distances("ours", 0, [4.0, 2.0], setting="C"),
        *distances("ours", 1, [6.0, 4.0], setting="C"),
        *distances("none", 0, [8.0, 9.0], setting="F"),
    ]
    first, second = drawn(figures.curves(rows, "title"))
    assert lines(first, "ours") == {(1, 2): (5.0, 3.0)}
    assert lines(second, "none") == {(1, 2): (8.0, 9.0)}
    assert first.get_title() == "setting C"


def test_curves_of_a_measure_are_means_of_kernels(drawn):
    rows = [row("lambda", values=[1.0, 3.0]), row("share", values=[9.0])]
    (axes,) = drawn(figures.curves(rows, "title", "lambda", panel=None))
    assert lines(axes, "ours") == {(1,): (2.0,)}


def test_levels_have_a_dot_for_each_seed_and_failures_at_the_ceiling(drawn):
    rows = [
        *distances("ours", 0, [3.0], setting="A"),
        *distances("ours", 1, [5.0], setting="A"),
        *distances("ours", 0, [400.0], setting="B"),
        row("failed", 1.0, seed=1, setting="B"),
    ]
    (axes,) = drawn(figures.by_level(rows, "title", ceiling=100.0))
    found = [line.get_ydata() for line in axes.get_lines()]
    np.testing.assert_array_equal(found[0], [3.0, 5.0])
    np.testing.assert_array_equal(found[1], [100.0])
    assert [t.get_text() for t in axes.get_xticklabels()] == ["A", "B"]


def test_factor_of_numbers_is_an_axis(drawn):
    rows = [
        *distances("ours", 0, [3.0], width="0.5"),
        *distances("ours", 1, [5.0], width="0.5"),
        *distances("ours", 0, [7.0], width="8"),
    ]
    (axes,) = drawn(figures.against(rows, "title", x="width"))
    assert lines(axes, "ours") == {(0.5, 8.0): (4.0, 7.0)}
    band = axes.collections[0].get_paths()[0].vertices
    np.testing.assert_allclose(band[:, 1].max(), 4 + np.sqrt(2))


@pytest.mark.parametrize(("lowest", "some"), [(0.05, "30"), (700.0, "1500")])
def test_numbers_of_a_logarithmic_axis_do_not_touch(drawn, lowest, some):
    rows = [
        *distances("ours", 0, [lowest], bound="1"),
        *distances("ours", 0, [3000.0], bound="2"),
    ]
    figure = figures.against(rows, "title", x="bound", log=True)
    (axes,) = drawn(figure)
    low, high = axes.get_ylim()
    numbers = {
        label.get_text(): label.get_window_extent()
        for label in axes.get_yticklabels(which="both")
        if label.get_text() and low <= label.get_position()[1] <= high
    }
    assert some in numbers
    assert len(numbers) > 3
    boxes = sorted(numbers.values(), key=lambda box: box.y0)
    assert all(a.y1 < b.y0 for a, b in itertools.pairwise(boxes))


def test_pairs_are_drawn_with_their_interval(drawn):
    rows = [
        *distances("ours", 0, [3.0], setting="C"),
        *distances("ours", 1, [5.0], setting="C"),
        *distances("none", 0, [4.0], setting="C"),
        *distances("none", 1, [8.0], setting="C"),
    ]
    (axes,) = drawn(figures.paired(rows, "title", base="ours"))
    assert [t.get_text() for t in axes.get_yticklabels()] == ["none, setting C"]
    np.testing.assert_array_equal(axes.get_lines()[0].get_xdata(), [1.0, 3.0])
    ((low, high),) = axes.collections[0].get_segments()
    np.testing.assert_allclose(
        (low[0], high[0]), 2 + 12.706 * np.array([-1, 1]), rtol=1e-4
    )


@pytest.mark.parametrize(
    ("same_score", "label", "second"),
    [(True, "ours: update 2, 5", 0.25), (False, "ours: update 3, 2", 1 / 9)],
)
def test_spectra_are_of_equal_scores_or_of_the_best(
    drawn, same_score, label, second
):
    def spectrum(method, step, values):
        return row(
            "singular_values/conv", None, method, step=step, values=values
        )

    rows = [
        *distances("ours", 0, [9.0, 5.0, 2.0]),
        *distances("clip", 0, [9.5, 8.0, 4.9]),
        *(spectrum("ours", step, [2.0, 2.0 / step]) for step in (1, 2, 3)),
        *(spectrum("clip", step, [4.0, 1.0 / step]) for step in (1, 2, 3)),
    ]
    (axes,) = drawn(figures.spectra(rows, "title", same_score=same_score))
    assert axes.get_title() == "conv"
    ours = lines(axes, label)
    np.testing.assert_allclose(ours[1, 2], [1.0, second])
    clip = lines(axes, "clip: update 3, 4.9")
    np.testing.assert_allclose(clip[1, 2], [1.0, 1 / 144])


def test_norms_have_a_panel_for_each_method(drawn):
    def norms(method, step, *values, seed=0):
        return row(
            "spectral_norm",
            method=method,
            seed=seed,
            step=step,
            values=[*values],
            note="conv_1 dense",
        )

    rows = [
        norms("ours", 2, 1.0, 1.1),
        norms("ours", 1, 1.5, 1.2),
        norms("none", 2, 9.0, 8.0),
        norms("ours", 1, 7.0, 7.0, seed=1),
    ]
    ours, none = drawn(figures.norms(rows, "title"))
    assert lines(ours, "conv_1") == {(1.0, 2.0): (1.5, 1.0)}
    assert lines(ours, "dense") == {(1.0, 2.0): (1.2, 1.1)}
    assert lines(none, "conv_1") == {(2.0,): (9.0,)}
