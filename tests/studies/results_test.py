import math

import pytest

from sngan_tf.errors import UserError
from sngan_tf.studies import results


@pytest.fixture
def table(tmp_path):
    return results.Results(tmp_path / "results" / "some.csv", ["method"])


def row(cell, **values):
    return {"cell": cell, "seed": 0, "metric": "score", **values}


def end(cell, updates, has=False):
    return {**row(cell), **results.failed(has, "why"), "updates": updates}


def test_rows_come_back_as_they_were(table):
    assert table.read() == []
    rows = [
        row("a", value=1 / 3, std=None, method="none", step=2_000),
        row("a", value=math.inf, features="classifier-1", method="none"),
        row("a", metric="values/x", values=[1.0, 0.123456]),
    ]
    table.add("a", rows)
    first, second, third = table.read()
    assert first["value"] == pytest.approx(1 / 3, rel=1e-5)
    assert (first["std"], first["step"], first["method"]) == (None, 2e3, "none")
    assert (second["value"], second["features"]) == (math.inf, "classifier-1")
    assert third["value"] is None
    assert third["values"] == [1.0, 0.1235]


def test_rows_of_a_cell_take_the_place_of_its_old_ones(table):
    table.add("a", [row("a", value=1), row("a", value=2)])
    table.add("b", [row("b", values=[3.0, 4.0])])
    table.add("a", [row("a", value=5)])
    found = [(r["cell"], r["value"], r["values"]) for r in table.read()]
    assert found == [("b", None, [3.0, 4.0]), ("a", 5.0, [])]


def test_rows_are_in_the_order_of_the_cells(tmp_path):
    table = results.Results(tmp_path / "some.csv", ["method"], ["a", "b", "c"])
    for cell in ("c", "real", "a", "b"):
        table.add(cell, [row(cell, value=1), row(cell, value=2)])
    found = [(r["cell"], r["value"]) for r in table.read()]
    assert found == [(c, v) for c in ("real", "a", "b", "c") for v in (1, 2)]


def test_a_cell_is_done_after_as_many_updates_or_a_failure(table):
    updates = {"a": 10, "b": 10, "c": 10, "d": 10}
    table.add("a", [row("a"), end("a", 10)])
    table.add("b", [row("b"), end("b", 5)])
    table.add("c", [row("c"), end("c", 3, has=True)])
    table.add("d", [row("d")])
    assert table.done(updates) == {"a", "c"}


def test_unknown_column_is_no_silent_loss(table):
    table.add("a", [row("a")])
    with pytest.raises(ValueError, match="colour"):
        table.add("b", [row("b", colour="red")])
    assert [r["cell"] for r in table.read()] == ["a"]


def test_another_file_is_refused(tmp_path):
    path = tmp_path / "other.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=f"{path} must be a table of a study"):
        results.read(path)


@pytest.mark.parametrize("change", [lambda x: x[:-4], lambda x: x + ",1"])
def test_row_that_is_half_written_is_refused(table, change):
    table.add("a", [{"cell": "a", "metric": "score", "value": 7.5}])
    table.path.write_text(change(table.path.read_text().strip()))
    with pytest.raises(UserError, match="more or fewer cells, of a$"):
        table.read()
