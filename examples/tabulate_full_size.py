"""Puts the scores of `train_full_size` into the table of a study.

    python examples/tabulate_full_size.py runs/full_size --commit=60271ad \
        --reference=folder:cifar10/train --arguments="--setting C --minutes=8"

writes docs/results/full_size.csv; `python main.py --mode=study
--config=studies/full_size --draw` draws it.
"""

import argparse
import math
import pathlib

from sngan_tf import files
from sngan_tf.studies import results

TABLE = pathlib.Path("docs/results/full_size.csv")
# The order in which the methods stand in tables and figures.
METHODS = ("spectral_norm", "keras_spectral_norm", "none", "wgan_gp")
FACTORS = ("method", "setting")
# What stands in a table's row, of what a record has.
KEPT = (
    "method",
    "setting",
    "seed",
    "step",
    "metric",
    "value",
    "std",
    "protocol",
    "num_real",
    "num_fake",
    "features",
    "resize",
)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path, help="the runs' --out")
    parser.add_argument("--commit", required=True, help="that they are of")
    parser.add_argument("--reference", required=True, help="name of pictures")
    parser.add_argument("--arguments", default="", help="what was given beside")
    parser.add_argument("--table", type=pathlib.Path, default=TABLE)
    given = parser.parse_args()
    command = f"python examples/train_full_size.py {given.arguments}".strip()
    logs = sorted(given.folder.glob("*/train.jsonl"), key=place)
    names = [log.parent.name for log in logs]
    table = results.Results(given.table, FACTORS, names)
    for log in logs:
        folder, last = log.parent, files.read_rows(log)[-1]
        scores = files.read_rows(folder / "scores.jsonl")
        about = {
            "reference": given.reference,
            "updates": last["step"],
            "seconds": last["seconds"],
            "commit": given.commit,
            "command": command,
        }
        rows = [
            {"cell": folder.name} | {key: row[key] for key in KEPT} | about
            for row in scores
        ]
        factors = {key: scores[0][key] for key in (*FACTORS, "seed")}
        diverged = not math.isfinite(last["d_loss"] + last["g_loss"])
        device, precision = scores[0]["device"], scores[0]["precision"]
        end = results.failed(diverged, f"{device}, {precision}")
        rows.append({"cell": folder.name} | factors | end | about)
        table.add(folder.name, rows)


def place(log):
    """Returns a key by which the runs' logs are in the study's order."""
    method, setting, seed = log.parent.name.rsplit("-", 2)
    return int(seed), METHODS.index(method), setting


if __name__ == "__main__":
    main()
