"""Where what is made once, for all runs, is kept."""

import os
import pathlib


def directory():
    """Returns `$SNGAN_TF_CACHE`, by default `~/.cache/sngan_tf`."""
    default = pathlib.Path.home() / ".cache" / "sngan_tf"
    return pathlib.Path(os.environ.get("SNGAN_TF_CACHE", default))
