"""Grids of runs: what the paper shows in a figure or a table, as data.

A study is a file of `configs/studies`: cells, what is measured of each, and
what is drawn of all.
"""

from sngan_tf.studies.study import Cell
from sngan_tf.studies.study import Study
from sngan_tf.studies.study import by_seed
from sngan_tf.studies.study import grid

__all__ = ["Cell", "Study", "by_seed", "grid"]
