"""The examples as a user runs them."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from sngan_tf import images as images_lib

EXAMPLES = pathlib.Path(__file__).parents[1] / "examples"


@pytest.mark.slow
def test_methods_are_trained_and_shown_side_by_side(tmp_path):
    figure = tmp_path / "methods.png"
    subprocess.run(
        [
            sys.executable,
            str(EXAMPLES / "compare_methods.py"),
            str(figure),
            str(tmp_path / "runs"),
            "--methods",
            "none",
            "weight_clipping,setting=B",
            "--config.data.name=digits",
            "--config.data.image_size=8",
            "--config.data.batch_size=4",
            "--config.network.width=0.04",
            "--config.updates=1",
            "--config.log_every=1",
            "--config.sampling.count=4",
        ],
        check=True,
        cwd=EXAMPLES.parent,
        env={**os.environ, "PYTHONPATH": str(EXAMPLES.parent)},
    )
    shown = images_lib.read_png(figure)
    for i, run in enumerate(("none", "weight_clipping,setting=B")):
        grid = images_lib.read_png(
            tmp_path / "runs" / run / "samples" / "step_00000001.png"
        )
        height, width = grid.shape[:2]
        left = i * (width + 8)
        panel = shown[44 : 44 + height, left : left + width]
        np.testing.assert_array_equal(panel, np.broadcast_to(grid, panel.shape))
