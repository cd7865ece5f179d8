"""Trains, scores, samples and exports SN-GANs, and measures their kernels.

    python main.py                  the whole job on handwritten digits
    python main.py --mode=train --config=configs/digits.py --workdir=runs/a
    python main.py --mode=report --workdir=runs/a --workdir=runs/b
    python main.py --mode=spectra --model=any.keras
    python main.py --mode=score --real=folder:a --fake=folder:b
    python main.py --mode=study --config=configs/studies/gradient.py
    python main.py --mode=serve --workdir=runs/a --port=8501
    python main.py --fields         every field of a config

Installed, the command is `sngan-tf`, and configs go by their names:
--config=digits, --config=cifar10_cnn:setting=C. Without --mode all modes run
in turn, but for spectra, score, study and serve. A run knows its config:
--mode=sample --workdir=runs/a is enough. Any field of a config can be
overridden: --config.optimizer.learning_rate=1e-3.
"""

import contextlib
import importlib
import logging
import os
import shlex
import signal
import sys

from sngan_tf import errors
from sngan_tf import flags

_SCORE_WORKDIR = "runs/score"


def run():
    """Runs the command with the flags of `sys.argv`, and exits."""
    # Keras and TensorFlow are imported once the flags are known to be right.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # By itself TensorFlow uses its convolutions only on some processors.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    try:
        with errors.extra("train"):
            from absl import app

            flags.define(__doc__)
        app.run(_main, flags_parser=flags.parse)
    except errors.MissingExtra as error:
        flags.fail(error, code=1)


def _main(argv):
    if len(argv) > 1:
        flags.fail(
            f"Every argument must be a flag. Received: {argv[1]}", code=2
        )
    _check_backend()
    given = flags.given()
    if given.fields:
        from sngan_tf.runs import fields

        with _silenced():
            table = fields.table()
        print(table)
        return
    flags.check(given)
    _set_up_logging()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _terminate)
    try:
        if given.model is not None:
            _measure(given.model)
        elif given.mode == "study":
            _study(given)
        elif given.mode == "serve":
            _serve(given)
        elif given.mode == "score":
            _score(given)
        else:
            _run_modes(given.config, _workdirs(given), given.mode)
    except errors.UserError as error:
        flags.fail(error, code=1)
    except errors.Interrupted as error:
        flags.fail(error, code=128 + error.number)


def _measure(path):
    from sngan_tf.modes import spectra
    from sngan_tf.runs import summary

    folder = spectra.of_file(path)
    print("\n".join([f"spectra  {folder}", "", *summary.spectra_lines(folder)]))


def _study(given):
    from sngan_tf.modes import study

    if given.draw:
        paths = study.draw(given.config.study)
    else:
        workdir, rest = flags.taken_out("workdir", sys.argv[1:])
        _, rest = flags.taken_out("cells", rest)
        folder = workdir or f"runs/studies/{given.config.study.name}"
        command = shlex.join(["python", "main.py", *rest])
        paths = [study.study(given.config, folder, given.cells, command)]
    print("\n".join(map(str, paths)))


def _serve(given):
    from sngan_tf.modes import serve

    (run,) = _workdirs(given)
    serve.serve(given.config, run, given.host, int(given.port))


def _score(given):
    from sngan_tf.modes import score
    from sngan_tf.runs import summary
    from sngan_tf.runs import workdir

    (folder,) = given.workdir
    if not given["workdir"].present:
        folder = _SCORE_WORKDIR
    run = workdir.Workdir(folder)
    sized_by = ("config", "config.data.image_size")
    own_size = all(flags.taken_out(x, sys.argv)[0] is None for x in sized_by)
    rows = score.score(given.config, run, given.real, given.fake, own_size)
    lines = [f"scores  {run.scores}", *summary.kept_lines(rows)]
    print("\n".join(lines))


def _run_modes(config, runs, only):
    from sngan_tf.runs import distribution
    from sngan_tf.runs import summary

    # All hosts train; one of them does the rest.
    is_chief = distribution.is_chief(config.get("distribution"))
    for mode in [only] if only else flags.IN_TURN:
        if mode == "train" or is_chief:
            module = importlib.import_module(f"sngan_tf.modes.{mode}")
            made = getattr(module, mode)(config, *runs)
    if is_chief:
        print(f"report  {made}" if len(runs) > 1 else summary.table(*runs))


def _workdirs(given):
    from sngan_tf.runs import workdir

    config, _ = flags.taken_out("config", sys.argv)
    return [workdir.Workdir(path, config or "") for path in given.workdir]


def _check_backend():
    # A backend of keras.json is for others; one of the environment is meant.
    given = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if given != "tensorflow":
        flags.fail(
            "`KERAS_BACKEND` must be tensorflow, which the command trains on; "
            f"others run the layers alone. Received: KERAS_BACKEND={given}",
            code=2,
        )
    os.environ["KERAS_BACKEND"] = given


@contextlib.contextmanager
def _silenced():
    """A context in which nothing is said on stderr."""
    # What TensorFlow says when it starts, it says past Python.
    stderr = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def _set_up_logging():
    from absl import logging as absl_logging

    logger = logging.getLogger("sngan_tf")
    logger.addHandler(logging.StreamHandler())
    logger.setLevel(logging.INFO)
    logger.propagate = False
    absl_logging.set_verbosity(absl_logging.WARNING)
    # tensorflow-gan calls what TensorFlow has deprecated.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


def _terminate(number, frame):
    raise errors.Interrupted(number)
