"""A config file as those in `configs`: `saved.py:RUN/config.json`, a run's own.

What the command takes where no other is named.
"""

import pathlib

from sngan_tf.runs import workdir


def get_config(path):
    return workdir.Workdir(pathlib.Path(path).parent).own_config()
