"""Grids of samples side by side, each under a caption."""

import numpy as np
from PIL import Image
from PIL import ImageDraw
from PIL import ImageFont

_CAPTION_HEIGHT, _MARGIN = 44, 8


def captioned(grid, title, text=""):
    """Returns a grid under a title and a line of text, uint8 RGB.

    Args:
        grid: `(height, width, 1 or 3)`, uint8.
        title: Words above it.
        text: Smaller words below the title.
    """
    grid = np.broadcast_to(grid, (*grid.shape[:2], 3))
    caption = Image.new("RGB", (grid.shape[1], _CAPTION_HEIGHT), "white")
    draw = ImageDraw.Draw(caption)
    draw.text((0, 4), title, "black", ImageFont.load_default(16))
    draw.text((0, 25), text, "black", ImageFont.load_default(12))
    return np.concatenate([np.asarray(caption), grid])


def tile(panels, columns):
    """Returns panels of one size in rows, on white."""
    height, width, _ = panels[0].shape
    height, width = height + _MARGIN, width + _MARGIN
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    figure = np.full((rows * height, columns * width, 3), 255, np.uint8)
    for i, panel in enumerate(panels):
        y, x = i // columns * height, i % columns * width
        figure[y : y + panel.shape[0], x : x + panel.shape[1]] = panel
    return figure
