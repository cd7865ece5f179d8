r"""Trains each method for a while and shows their samples in one figure.

    python examples/compare_methods.py FIGURE.png RUNS \
        --config.data.name=folder:/my/pictures --config.updates=300

RUNS is the folder of the runs, one for each method; those that are done are
not done again. All other flags are main.py's, those of each run. Under each
name stand the losses of its last update that was logged.
"""

import argparse
import pathlib
import subprocess
import sys

import numpy as np
from PIL import Image
from PIL import ImageDraw
from PIL import ImageFont

from sngan_tf import images as images_lib
from sngan_tf import methods
from sngan_tf import workdir as workdir_lib

ROOT = pathlib.Path(__file__).parents[1]
CONFIG = "configs/cifar10_cnn.py"
COLUMNS = 4
CAPTION, MARGIN = 44, 8


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("figure", type=pathlib.Path)
    parser.add_argument("runs", type=pathlib.Path)
    parser.add_argument("--methods", default=",".join(methods.METHODS))
    arguments, flags = parser.parse_known_args()
    panels = []
    for method in arguments.methods.split(","):
        run = workdir_lib.Workdir(arguments.runs.resolve() / method)
        train(method, run, flags)
        panels.append(panel(method, run))
    images_lib.save_png(arguments.figure, tile(panels))


def train(method, run, flags):
    subprocess.run(
        [
            sys.executable,
            "main.py",
            "--mode=train",
            f"--config={CONFIG}:method={method}",
            f"--workdir={run.path}",
            *flags,
        ],
        cwd=ROOT,
        check=True,
    )


def panel(method, run):
    """Returns the last grid of a run under a caption, uint8 RGB."""
    grid = images_lib.read_png(max(run.samples.glob("step_*.png")))
    grid = np.broadcast_to(grid, (*grid.shape[:2], 3))
    last = workdir_lib.read_rows(run.train_log)[-1]
    losses = f"d_loss {last['d_loss']:.3g}, g_loss {last['g_loss']:.3g}"
    caption = Image.new("RGB", (grid.shape[1], CAPTION), "white")
    draw = ImageDraw.Draw(caption)
    draw.text((0, 4), method, "black", ImageFont.load_default(16))
    draw.text((0, 25), losses, "black", ImageFont.load_default(12))
    return np.concatenate([np.asarray(caption), grid])


def tile(panels):
    height, width, _ = panels[0].shape
    rows = -(-len(panels) // COLUMNS)
    columns = min(COLUMNS, len(panels))
    shape = (rows * (height + MARGIN), columns * (width + MARGIN), 3)
    figure = np.full(shape, 255, np.uint8)
    for i, image in enumerate(panels):
        y = i // COLUMNS * (height + MARGIN)
        x = i % COLUMNS * (width + MARGIN)
        figure[y : y + height, x : x + width] = image
    return figure


if __name__ == "__main__":
    main()
