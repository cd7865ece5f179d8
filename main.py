"""Trains, scores, samples and exports SN-GANs.

    python main.py                  the whole job on handwritten digits
    python main.py --mode=train --config=configs/digits.py --workdir=runs/a

Without --mode all modes run in turn. Any field of a config can be overridden:
--config.optimizer.learning_rate=1e-3.
"""

import importlib
import os
import pathlib
import sys

from absl import app
from absl import flags
from absl import logging
from ml_collections import config_flags

MODES = ("train", "evaluate", "sample", "export")

_CONFIG = config_flags.DEFINE_config_file(
    "config",
    str(pathlib.Path(__file__).parent / "configs" / "digits.py"),
    "Config file.",
    lock_config=True,
)
_WORKDIR = flags.DEFINE_string("workdir", "runs/digits", "Folder of the run.")
_MODE = flags.DEFINE_enum("mode", None, MODES, "What to do; all by default.")


def main(argv):
    if len(argv) > 1:
        _fail(f"Every argument must be a flag. Received: {argv[1]}", code=2)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.set_verbosity(logging.INFO)
    from sngan_tf import errors
    from sngan_tf import report
    from sngan_tf import workdir

    run = workdir.Workdir(_WORKDIR.value)
    try:
        for mode in [_MODE.value] if _MODE.value else MODES:
            verb = getattr(importlib.import_module(f"sngan_tf.{mode}"), mode)
            verb(_CONFIG.value, run)
        print(report.table(run))
    except errors.UserError as error:
        _fail(error, code=1)


def _parse(argv):
    try:
        return flags.FLAGS(argv)
    except Exception as error:  # config files and overrides raise any kind
        _fail(error, code=2)


def _fail(error, code):
    message = " ".join(str(error).split()) or type(error).__name__
    print(f"main.py: {message}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    app.run(main, flags_parser=_parse)
