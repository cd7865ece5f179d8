r"""Trains each method for a while and shows their samples in one figure.

    python examples/compare_methods.py FIGURE.png RUNS \
        --config.data.name=folder:/my/pictures --config.updates=300

RUNS is the folder of the runs, one for each method; those that are done are
not done again. `--methods` takes names, and arguments of the config after a
comma: `--methods none wgan_gp,setting=D`. All other flags are main.py's, for
every run. Under each name stand the losses of the last update that was logged.
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
CONFIG = "configs/cifar10_cnn.py"
COLUMNS = 5


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("figure", type=pathlib.Path)
    parser.add_argument("runs", type=pathlib.Path)
    parser.add_argument("--methods", nargs="+", default=list(methods.METHODS))
    arguments, flags = parser.parse_known_args()
    shown = []
    for method in arguments.methods:
        run = workdir_lib.Workdir(arguments.runs.resolve() / method)
        train(method, run, flags)
        shown.append(panel(method, run))
    images_lib.save_png(arguments.figure, panels.tile(shown, COLUMNS))


def train(method, run, flags):
    subprocess.run(
        [
            sys.executable,
            "main.py",
            "--mode=train",
            f"--config={CONFIG}:method={method}",
            f"--workdir={run.path}",
            "--config.evaluate_every=0",
            *flags,
        ],
        cwd=ROOT,
        check=True,
    )


def panel(method, run):
    grid = images_lib.read_png(max(run.samples.glob("step_*.png")))
    last = files.read_rows(run.train_log)[-1]
    losses = f"d_loss {last['d_loss']:.3g}, g_loss {last['g_loss']:.3g}"
    return panels.captioned(grid, method.replace(",setting=", " "), losses)


if __name__ == "__main__":
    main()
