"""The table of runs on an accelerator."""

import sys

import tabulate_full_size

from sngan_tf import files
from sngan_tf.studies import results


def write(folder, losses):
    method, setting, seed = folder.name.rsplit("-", 2)
    score = {
        "step": 20,
        "metric": "frechet_classifier_distance",
        "value": 2.5,
        "std": None,
        "protocol": "quick",
        "num_real": 100,
        "num_fake": 100,
        "reference": "folder:/elsewhere/train",
        "features": "classifier-1",
        "resize": "none",
        "method": method,
        "setting": setting,
        "seed": int(seed),
        "precision": "tensorfloat32",
        "device": "H200",
    }
    files.append_row(folder / "scores.jsonl", score)
    for step, loss in losses.items():
        row = {"step": step, "d_loss": loss, "g_loss": 1.0, "seconds": step / 2}
        files.append_row(folder / "train.jsonl", row)


def test_rows_are_those_of_the_records(monkeypatch, tmp_path):
    runs = {
        "wgan_gp-C-0": {10: 1.0, 20: float("nan")},
        "spectral_norm-C-1": {10: 1.0, 20: 1.0},
        "spectral_norm-C-0": {10: 1.0, 20: 1.0},
    }
    for name, losses in runs.items():
        (tmp_path / name).mkdir()
        write(tmp_path / name, losses)
    table = tmp_path / "table.csv"
    given = [tmp_path, f"--table={table}", "--commit=abc"]
    given += ["--reference=folder:train", "--arguments=--minutes=8"]
    monkeypatch.setattr(sys, "argv", ["tabulate", *map(str, given)])
    tabulate_full_size.main()
    rows = results.read(table)
    assert [row["cell"] for row in rows[::2]] == [
        "spectral_norm-C-0",
        "wgan_gp-C-0",
        "spectral_norm-C-1",
    ]
    score, end = rows[2:4]
    assert score["value"] == 2.5
    assert score["num_fake"] == 100
    assert score["reference"] == "folder:train"
    assert score["command"] == (
        "python examples/train_full_size.py --minutes=8"
    )
    assert (end["metric"], end["value"]) == ("failed", 1)
    assert (end["updates"], end["seconds"]) == (20, 10)
    assert end["note"] == "H200, tensorfloat32"
    assert rows[-1]["value"] == 0
