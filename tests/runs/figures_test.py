import numpy as np
import pytest

from sngan_tf.errors import UserError
from sngan_tf.runs import figures


def kernel(values, rank=1.0, norm=None):
    found = {"singular_values": values, "effective_rank": rank}
    return {**found, "operator_norm": norm} if norm else found


def interval(lower, upper):
    return {"lower": lower, "upper": upper, "how": "fft"}


NETWORK = {
    "kernels": {
        "conv": kernel([2.0, 1.0], 1.9, interval(3.0, 4.0)),
        "custom": kernel([1.0], 1.0, interval(0.0, np.inf)),
        "zero": kernel([0.0, 0.0], 0.0),
    },
    "lipschitz_refused": "no rule is known of custom",
}


def titles(figure):
    return [axes.get_title() for axes in figure.axes]


def test_spectra_are_squared_and_scaled_to_1():
    figure = figures.singular_values(NETWORK, "critic, update 3")
    assert figure.get_suptitle().startswith("critic, update 3\n")
    assert titles(figure) == [
        "conv\neffective rank 1.9 of 2",
        "custom\neffective rank 1 of 1",
        "zero\neffective rank 0 of 2",
    ]
    drawn = [axes.patches[0].get_data().values for axes in figure.axes]
    for found, squares in zip(drawn, ([1, 0.25], [1], [0, 0])):
        np.testing.assert_array_equal(found, squares)


def test_norms_of_matrix_and_map_stand_side_by_side():
    figure = figures.operator_norms(NETWORK, "critic")
    (axes,) = figure.axes
    drawn = {
        line.get_label(): dict(zip(*line.get_data())) for line in axes.lines
    }
    assert drawn == {
        "norm of its matrix": {0: 2.0, 1: 1.0, 2: 0.0},
        "norm of its map, attained": {0: 3.0, 1: 0.0},
        "norm of its map, never exceeded": {0: 4.0, 1: np.inf},
    }
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        *NETWORK["kernels"]
    ]
    assert figure.get_suptitle() == (
        "critic\nno Lipschitz bound: no rule is known of custom"
    )


def test_title_says_both_bounds():
    network = {**NETWORK, "lipschitz": {"lower": 2.5, "upper": 1234.0}}
    figure = figures.operator_norms(network, "critic")
    expected = "its Lipschitz constant is at least 2.5, at most 1,234"
    assert figure.get_suptitle().endswith(expected)


def test_lines_begin_where_the_run_logged_them():
    """As where a run went on with another setting, or began before it."""
    rows = [
        {"step": 1, "spectral_norms": {"a": 1.0, "b": 2.0}},
        {
            "step": 2,
            "spectral_norms": {"a": 1.5, "b": 2.5},
            "effective_ranks": {"a": 3.0, "b": 4.0},
        },
    ]
    figure = figures.norms_over_updates(rows)
    drawn = [
        {line.get_label(): [*zip(*line.get_data())] for line in axes.lines}
        for axes in figure.axes
    ]
    assert drawn == [
        {"a": [(1, 1.0), (2, 1.5)], "b": [(1, 2.0), (2, 2.5)]},
        {"a": [(2, 3.0)], "b": [(2, 4.0)]},
    ]


def test_gradients_are_drawn_where_they_were_logged():
    gradients = {"lambdas": {"a": -1.0}, "gradient_shares": {"a": 0.5}}
    rows = [{"step": 1}, {"step": 2, **gradients}, {"step": 3, "lambdas": {}}]
    lambdas, shares = figures.gradients_over_updates(rows).axes
    assert [*zip(*lambdas.lines[0].get_data())] == [(2, -1.0)]
    assert [*zip(*shares.lines[0].get_data())] == [(2, 0.5)]


def test_long_logs_are_drawn_by_running_medians():
    rows = [
        {"step": i, "lambdas": {"a": i % 3}, "gradient_shares": {"a": 0.5}}
        for i in range(45)
    ]
    lambdas, _ = figures.gradients_over_updates(rows).axes
    each, median, _ = lambdas.lines
    np.testing.assert_array_equal(each.get_ydata(), np.arange(45) % 3)
    np.testing.assert_array_equal(median.get_xdata(), np.arange(1, 44))
    np.testing.assert_array_equal(median.get_ydata(), np.ones(43))


@pytest.mark.parametrize(
    "draw", [figures.norms_over_updates, figures.gradients_over_updates]
)
def test_nothing_is_drawn_of_nothing(draw):
    assert draw([]) is None
    assert draw([{"step": 1, "spectral_norms": {}, "lambdas": {}}]) is None


def test_figure_that_fails_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "spectra" / "figure.png"
    figure = figures.singular_values(NETWORK, "critic")
    figures.save(path, figure)
    before = path.read_bytes()
    assert before.startswith(b"\x89PNG")

    def half(temporary, **kwargs):
        temporary.write_bytes(b"half")
        raise OSError(28, "No space left")

    monkeypatch.setattr(figure, "savefig", half)
    with pytest.raises(UserError, match="figure.png can't be written .No spa"):
        figures.save(path, figure)
    assert [*path.parent.iterdir()] == [path]
    assert path.read_bytes() == before
