import pytest

from sngan_tf import progress


def test_bar_shows_name_total_and_unit(capsys):
    with progress.bar("pictures to count", 12) as bar:
        bar.update(12)
    shown = capsys.readouterr().err
    assert "pictures to count: 100%" in shown
    assert "12/12" in shown
    assert "pictures/s" in shown


def test_bar_counts_in_another_unit(capsys):
    with progress.bar("training", 4, unit=" updates") as bar:
        bar.update(3)
    shown = capsys.readouterr().err
    assert "training:  75%" in shown
    assert "3/4" in shown
    assert "updates/s" in shown


def test_slow_first_unit_predicts_nothing(capsys, monkeypatch):
    """It may trace a graph: here for 100 seconds, where others take half."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.bar("training", 100, " updates") as bar:
        for seconds in (100, 0.5, 0.5, 0.5):
            now[0] += seconds
            bar.update()
    shown = capsys.readouterr().err.split("\r")
    assert "1/100 [01:40<?, ? updates/s]" in shown[-3]
    assert "3/100 [01:41<00:48,  2.00 updates/s]" in shown[-2]
    assert "4/100 [01:41<00:48,  2.00 updates/s]" in shown[-1]


@pytest.mark.parametrize(
    ("seconds", "rate"),
    [(0.25, " 4.00 updates/s"), (1, " 1.00 updates/s"), (2, " 2.00s/update")],
)
def test_rate_reads_well_whether_fast_or_slow(
    capsys, monkeypatch, seconds, rate
):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.bar("training", 4, " updates") as bar:
        for _ in range(4):
            now[0] += seconds
            bar.update()
    assert f", {rate}]" in capsys.readouterr().err.split("\r")[-1]


def test_over_shows_name_and_total(capsys):
    assert list(progress.over("abc", "letters", 3)) == ["a", "b", "c"]
    shown = capsys.readouterr().err
    assert "letters: 100%" in shown
    assert "3/3" in shown


def test_over_passes_the_items_through_one_at_a_time():
    taken = []

    def items():
        for item in (None, 0, "x"):
            taken.append(item)
            yield item

    through = progress.over(items(), "items", 3, show=False)
    assert taken == []
    assert next(through) is None
    assert taken == [None]
    assert list(through) == [0, "x"]


@pytest.mark.parametrize("count", [0, 3])
def test_bars_that_are_not_to_show_print_nothing(capsys, count):
    with progress.bar("work", count, show=False) as bar:
        bar.update(count)
    assert list(progress.over(range(count), "work", count, show=False)) == (
        list(range(count))
    )
    assert capsys.readouterr() == ("", "")


def test_bar_is_not_in_what_is_printed(capsys):
    list(progress.over(range(2), "work", 2))
    assert capsys.readouterr().out == ""
