r"""Trains each method for a while and shows their samples in one figure.

    python examples/compare_methods.py FIGURE.png RUNS \
        --config.data.name=folder:/my/pictures --config.updates=300

RUNS is the folder of the runs, one for each method; those that are done are
not done again. `--methods` takes names, and arguments of the config after a
comma: `--methods none wgan_gp,setting=D`. `--config` is a config that takes a
method. All other flags are main.py's, for every run; nothing is scored unless
they ask for it, as by `--config.evaluate_every`. Under each name stand the last
scores or, without any, the losses of the last update that was logged.
"""

import argparse
import pathlib
import subprocess
import sys

import panels

from sngan_tf import files
from sngan_tf import images as images_lib
from sngan_tf.gan import methods
from sngan_tf.runs import workdir as workdir_lib

ROOT = pathlib.Path(__file__).parents[1]
COLUMNS = 5
# What stands under a name, of the scores that there are.
SCORES = {
    "inception_score": "IS",
    "frechet_inception_distance": "FID",
    "classifier_score": "score",
    "frechet_classifier_distance": "distance",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("figure", type=pathlib.Path)
    parser.add_argument("runs", type=pathlib.Path)
    parser.add_argument("--methods", nargs="+", default=list(methods.METHODS))
    parser.add_argument("--config", default="configs/cifar10_cnn.py")
    arguments, flags = parser.parse_known_args()
    shown = []
    for method in arguments.methods:
        run = workdir_lib.Workdir(arguments.runs.resolve() / method)
        train(arguments.config, method, run, flags)
        shown.append(panel(method, run))
    images_lib.save_png(arguments.figure, panels.tile(shown, COLUMNS))


def train(config, method, run, flags):
    subprocess.run(
        [
            sys.executable,
            "main.py",
            "--mode=train",
            f"--config={config}:method={method}",
            f"--workdir={run.path}",
            "--config.evaluate_every=0",
            *flags,
        ],
        cwd=ROOT,
        check=True,
    )


def panel(method, run):
    grid = images_lib.read_png(max(run.samples.glob("step_*.png")))
    return panels.captioned(
        grid, method.replace(",setting=", " "), last_values(run)
    )


def last_values(run):
    rows = files.read_rows(run.scores) if run.scores.exists() else []
    values = {row["metric"]: row["value"] for row in rows}
    shown = {SCORES[key]: values[key] for key in SCORES if key in values}
    if not shown:
        last = files.read_rows(run.train_log)[-1]
        shown = {key: last[key] for key in ("d_loss", "g_loss")}
    return ", ".join(f"{name} {value:.3g}" for name, value in shown.items())


if __name__ == "__main__":
    main()
