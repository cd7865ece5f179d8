"""Curves of several seeds: their mean, in a band from the least to the most."""

import numpy as np


def draw(axes, places, seeds, label):
    """Draws a curve in the next colour.

    Args:
        axes: Of matplotlib.
        places: `(points,)`, along the axis.
        seeds: `(seeds, points)`, the values.
        label: For the legend.
    """
    values = np.asarray(seeds)
    (line,) = axes.plot(places, values.mean(0), label=label)
    axes.fill_between(
        places,
        values.min(0),
        values.max(0),
        color=line.get_color(),
        alpha=0.2,
        linewidth=0,
    )
