from sngan_tf.studies import tables

METRICS = {"classifier_score": 4.0, "frechet_classifier_distance": 30.0}


def rows(method, setting, seed, shift, failed=False):
    """Rows of a cell at two steps; the last is worth METRICS plus a shift."""
    common = {
        "cell": f"{method}-{setting}-{seed}",
        "method": method,
        "setting": setting,
        "seed": float(seed),
        "updates": 20.0,
        "seconds": 1_800.0,
        "gflops": 70.0,
        "commit": "abc",
        "command": f"python main.py --cells={method}-{setting}-{seed}",
        "protocol": "quick",
        "num_real": 5.0,
        "num_fake": 5.0,
        "reference": "digits/all",
        "features": "classifier-1",
    }
    found = [
        {**common, "metric": name, "step": step, "value": value + shift * step}
        for name, value in METRICS.items()
        for step in (10.0, 1.0)
    ]
    end = {"metric": "failed", "value": float(failed), "num_fake": None}
    return [*found, {**common, **end, "step": None}]


ROWS = [
    *rows("ours", "C", 0, 0.0),
    *rows("none", "C", 0, 0.1),
    *rows("ours", "C", 1, 0.2),
    *rows("none", "C", 1, 0.5),
    *rows("ours", "F", 0, 0.0),
    *rows("none", "F", 0, -0.3, failed=True),
    {
        "cell": "real",
        "seed": 0.0,
        "step": 0.0,
        "metric": "real_classifier_score",
        "value": 9.5,
        "num_real": None,
        "num_fake": 5.0,
    },
]


def test_crossed_has_mean_and_deviation_and_what_failed():
    assert tables.crossed(ROWS, "score") == [
        "| method | setting C | setting F |",
        "| --- | --- | --- |",
        "| `ours` | 5 ± 1.41 | 4 |",
        "| `none` | 7 ± 2.83 | 1 (1 of 1 failed) |",
    ]
    # The best is 9; 4.2 and less is below 0.4 of the way from 1.
    table = tables.crossed(ROWS, "score", collapse=0.4)
    assert table[2].endswith(
        "| 5 ± 1.41 (1 of 2 collapsed) | 4 (1 of 1 collapsed) |"
    )


def test_scores_end_with_real_pictures():
    assert tables.scores(ROWS, ("method", "setting")) == [
        "| method | setting | score | Frechet distance | seeds |",
        "| --- | --- | --- | --- | --- |",
        "| `ours` | `C` | 5 ± 1.41 | 31 ± 1.41 | 2 |",
        "| `none` | `C` | 7 ± 2.83 | 33 ± 2.83 | 2 |",
        "| `ours` | `F` | 4 | 30 | 1 |",
        "| `none` | `F` | 1 (1 of 1 failed) | 27 (1 of 1 failed) | 1 |",
        "| real pictures |  | 9.5 |  |  |",
    ]


def test_real_pictures_of_another_network_are_left_out():
    other = {**ROWS[-1], "features": "classifier-2"}
    lines = tables.scores([*ROWS, other], ("method", "setting"))
    assert lines == tables.scores(ROWS, ("method", "setting"))[:-1]


def test_differences_are_paired_by_seed():
    # 1 and 3: mean 2, deviation sqrt(2), t of one degree of freedom 12.706.
    assert tables.differences(ROWS, "score", base="ours") == [
        "| setting | minus `ours` | difference | 95 % interval | pairs |",
        "| --- | --- | --- | --- | --- |",
        "| C | `none` | +2 | -10.7 to +14.7 | 2 |",
        "| F | `none` | -3 |  | 1 |",
    ]


def test_what_numbers_are_of():
    assert tables.made_of(ROWS) == [
        "- Command: `python main.py`",
        "- Commits: abc.",
        "- Cells: 6; updates 20; 3.0 hours of one thread each beside another; "
        "matrix product 70 GFLOP/s.",
        "- Scores: protocol quick, 5 generated, 5 real of digits/all, by "
        "classifier-1.",
    ]


def test_rates_of_several_machines_are_between_two():
    rows = [
        {**row, "gflops": 60.0 + 10 * (row["cell"] == ROWS[0]["cell"])}
        for row in ROWS
    ]
    assert "; matrix product 60 to 70 GFLOP/s." in tables.made_of(rows)[2]


def test_numbers_of_an_accelerator_name_it():
    rows = [{**row, "gflops": None, "note": "H200"} for row in ROWS]
    assert tables.made_of(rows)[2] == (
        "- Cells: 6; updates 20; 3.0 hours on H200."
    )
