"""Trains, scores, samples and exports SN-GANs.

    python main.py                  the whole job on handwritten digits
    python main.py --mode=train --config=configs/digits.py --workdir=runs/a

Without --mode all modes run in turn. Any field of a config can be overridden:
--config.optimizer.learning_rate=1e-3.
"""

import importlib
import logging
import os
import pathlib
import signal
import sys

from absl import app
from absl import flags
from absl import logging as absl_logging
from ml_collections import config_flags

MODES = ("train", "evaluate", "sample", "export")
DEFAULT_CONFIG = pathlib.Path(__file__).parent / "configs" / "digits.py"

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, f"Config file; {DEFAULT_CONFIG.name} by default."
)
_WORKDIR = flags.DEFINE_string("workdir", "runs/digits", "Folder of the run.")
_MODE = flags.DEFINE_enum("mode", None, MODES, "What to do; all by default.")


def main(argv):
    if len(argv) > 1:
        _fail(f"Every argument must be a flag. Received: {argv[1]}", code=2)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logger = logging.getLogger("sngan_tf")
    logger.addHandler(logging.StreamHandler())
    logger.setLevel(logging.INFO)
    logger.propagate = False
    absl_logging.set_verbosity(absl_logging.WARNING)
    # tensorflow-gan calls what TensorFlow has deprecated.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _terminate)
    from sngan_tf import distribution
    from sngan_tf import errors
    from sngan_tf import report
    from sngan_tf import workdir

    run = workdir.Workdir(_WORKDIR.value)
    try:
        # All hosts train; one of them does the rest.
        is_chief = distribution.is_chief(_CONFIG.value.get("distribution"))
        for mode in [_MODE.value] if _MODE.value else MODES:
            if mode == "train" or is_chief:
                module = importlib.import_module(f"sngan_tf.{mode}")
                getattr(module, mode)(_CONFIG.value, run)
        if is_chief:
            print(report.table(run))
    except errors.UserError as error:
        _fail(error, code=1)
    except errors.Interrupted as error:
        _fail(error, code=128 + error.number)


def _terminate(number, frame):
    from sngan_tf import errors

    raise errors.Interrupted(number)


def _parse(argv):
    # A default given to the flag itself would be loaded, and its fields
    # checked, even where another config is named.
    path = _config_argument(argv)
    if path is None:
        path = str(DEFAULT_CONFIG)
        argv = [argv[0], f"--config={path}", *argv[1:]]
    file = pathlib.Path(path.partition(":")[0])
    if file.suffix != ".py" or not file.is_file():
        _fail(f"`config` must be a Python file. Received: {path}", code=2)
    try:
        remaining = flags.FLAGS(argv)
        _CONFIG.value.to_dict()  # A file that fails to load fails here.
    except AttributeError as error:
        _fail(f"`config` {path} lacks a field or function: {error}", code=2)
    except SyntaxError as error:
        _fail(f"`config` must be valid Python. {error}", code=2)
    except Exception as error:  # config files can raise any kind
        _fail(_cause(error), code=2)
    return remaining


def _cause(error):
    """Returns what a config file said, out of the traceback it comes in."""
    text = str(error).strip()
    if "Traceback (most recent call last)" not in text:
        return text
    return text.splitlines()[-1].partition(": ")[2] or text.splitlines()[-1]


def _config_argument(argv):
    for arg, following in zip(argv[1:], [*argv[2:], ""]):
        name, equals, value = arg.lstrip("-").partition("=")
        if name == "config":
            return value if equals else following
    return None


def _fail(error, code):
    message = str(error).replace("\\n", " ").replace("\\'", "'")
    message = " ".join(message.split()) or type(error).__name__
    print(f"main.py: {message}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    app.run(main, flags_parser=_parse)
