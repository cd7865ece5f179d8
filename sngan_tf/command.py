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
import difflib
import importlib
import logging
import os
import pathlib
import re
import shlex
import signal
import sys

from sngan_tf import errors

IN_TURN = ("train", "evaluate", "sample", "export", "report")
MODES = (*IN_TURN, "spectra", "score", "study", "serve")
DEFAULT_CONFIG = "digits"
DEFAULT_WORKDIR = "runs/digits"
SCORE_CONFIG, SCORE_WORKDIR = "default", "runs/score"
_FLAGS = (
    "config",
    "workdir",
    "mode",
    "model",
    "real",
    "fake",
    "cells",
    "draw",
    "host",
    "port",
    "fields",
)
_PACKAGE = pathlib.Path(__file__).parent


def run():
    """Runs the command with the flags of `sys.argv`, and exits."""
    # Keras and TensorFlow are imported once the flags are known to be right.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # By itself TensorFlow uses its convolutions only on some processors.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    try:
        with errors.extra("train"):
            from absl import app

            _define_flags()
        app.run(_main, flags_parser=_parse)
    except errors.MissingExtra as error:
        _fail(error, code=1)


def _define_flags():
    from absl import flags
    from ml_collections import config_flags

    config_flags.DEFINE_config_file(
        "config",
        None,
        "Config file, config.json of a run, or the name of one that comes "
        "with sngan_tf "
        f"({', '.join(shipped_configs())}); by default that of the run in "
        f"--workdir, {DEFAULT_CONFIG} for a new one.",
    )
    flags.DEFINE_multi_string(
        "workdir",
        DEFAULT_WORKDIR,
        "Folder of the run; of --mode=report several, to compare them.",
    )
    flags.DEFINE_enum(
        "mode", None, MODES, f"What to do; by default {', '.join(IN_TURN)}."
    )
    flags.DEFINE_string(
        "model",
        None,
        "Keras model, a .keras file, that --mode=spectra is to measure in "
        "place of a run.",
    )
    for name, pictures in (("real", "Real"), ("fake", "Generated")):
        flags.DEFINE_string(
            name,
            None,
            f"{pictures} pictures of --mode=score: folder:PATH, or the name of "
            "a data set.",
        )
    flags.DEFINE_string(
        "cells",
        "",
        "Cells of --mode=study: K/N for the K-th of N shares, or names; empty "
        "for all.",
    )
    flags.DEFINE_bool(
        "draw", False, "Only draw what --mode=study has in its table."
    )
    flags.DEFINE_string(
        "host",
        "127.0.0.1",
        "Address that --mode=serve listens at: this machine alone; 0.0.0.0 for "
        "all that reach it.",
    )
    flags.DEFINE_string(
        "port", "8501", "Port of --mode=serve; 0 for any that is free."
    )
    flags.DEFINE_bool(
        "fields", False, "Print every field with default, meaning and rule."
    )
    # What --help shows, whatever file the command was started by.
    for name in _FLAGS:
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS[name])
    sys.modules["__main__"].__doc__ = __doc__


def _main(argv):
    from absl import flags

    if len(argv) > 1:
        _fail(f"Every argument must be a flag. Received: {argv[1]}", code=2)
    _check_backend()
    if flags.FLAGS.fields:
        from sngan_tf.runs import fields

        with _silenced():
            table = fields.table()
        print(table)
        return
    _check_model(flags.FLAGS.model, flags.FLAGS.mode)
    _check_study(flags.FLAGS)
    _check_server(flags.FLAGS)
    _check_workdirs(flags.FLAGS.workdir, flags.FLAGS.mode)
    _check_score(flags.FLAGS)
    _set_up_logging()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _terminate)
    try:
        if flags.FLAGS.model is not None:
            _measure(flags.FLAGS.model)
        elif flags.FLAGS.mode == "study":
            _study(flags.FLAGS)
        elif flags.FLAGS.mode == "serve":
            _serve(flags.FLAGS)
        elif flags.FLAGS.mode == "score":
            _score(flags.FLAGS)
        else:
            _run_modes(flags.FLAGS.config, _workdirs(), flags.FLAGS.mode)
    except errors.UserError as error:
        _fail(error, code=1)
    except errors.Interrupted as error:
        _fail(error, code=128 + error.number)


def _check_model(path, mode):
    """Fails on a model that is no file, or is given to another mode."""
    if path is None:
        return
    if mode != "spectra":
        given = f"with --mode={mode}" if mode else "without --mode"
        _fail(
            "`model` is for --mode=spectra alone. Received: "
            f"--model={path} {given}",
            code=2,
        )
    if not path.endswith(".keras") or not pathlib.Path(path).is_file():
        _fail(
            f"`model` must be a .keras file. Received: --model={path}", code=2
        )


def _check_study(given):
    """Fails where a study, or what is for one, is given to another mode."""
    is_study = "study" in given.config
    if given.mode == "study" and not is_study:
        _fail(
            "`config` must be a study, such as configs/studies/gradient.py, "
            "for --mode=study",
            code=2,
        )
    if given.mode == "study":
        return
    if is_study:
        _fail("`mode` must be study for the config of a study", code=2)
    if given.cells or given.draw:
        _fail("`cells` and `draw` are for --mode=study alone", code=2)


def _check_workdirs(paths, mode):
    """Fails on several folders that are not to be compared."""
    if len(paths) > 1 and mode != "report":
        _fail(
            "`workdir` must be given once, but for --mode=report. Received: "
            + " ".join(f"--workdir={path}" for path in paths),
            code=2,
        )


def _check_server(given):
    """Fails on a port that is none, or what is for the server elsewhere."""
    if not re.fullmatch("[0-9]{1,5}", given.port) or int(given.port) > 65535:
        _fail(
            "`port` must be a whole number, in [0, 65535]. Received: "
            f"--port={given.port}",
            code=2,
        )
    if given.mode != "serve" and (
        given["host"].present or given["port"].present
    ):
        _fail("`host` and `port` are for --mode=serve alone", code=2)


def _serve(given):
    from sngan_tf.modes import serve

    (run,) = _workdirs()
    serve.serve(given.config, run, given.host, int(given.port))


def _check_score(given):
    """Fails where pictures lack that are to be scored, or another mode is."""
    received = f"Received: --real={given.real} --fake={given.fake}"
    if given.mode == "score" and not (given.real and given.fake):
        _fail(
            "`real` and `fake` must both be folder:PATH or the name of a data "
            f"set, for --mode=score. {received}",
            code=2,
        )
    if given.mode != "score" and (given.real or given.fake):
        _fail(f"`real` and `fake` are for --mode=score alone. {received}", 2)


def _score(given):
    from sngan_tf.modes import score
    from sngan_tf.runs import summary
    from sngan_tf.runs import workdir

    (folder,) = given.workdir
    if not given["workdir"].present:
        folder = SCORE_WORKDIR
    run = workdir.Workdir(folder)
    sized_by = ("config", "config.data.image_size")
    own_size = all(_taken_out(x, sys.argv)[0] is None for x in sized_by)
    rows = score.score(given.config, run, given.real, given.fake, own_size)
    lines = [f"scores  {run.scores}", *summary.kept_lines(rows)]
    print("\n".join(lines))


def _study(given):
    from sngan_tf.modes import study

    if given.draw:
        paths = study.draw(given.config.study)
    else:
        workdir, rest = _taken_out("workdir", sys.argv[1:])
        _, rest = _taken_out("cells", rest)
        folder = workdir or f"runs/studies/{given.config.study.name}"
        command = shlex.join(["python", "main.py", *rest])
        paths = [study.study(given.config, folder, given.cells, command)]
    print("\n".join(map(str, paths)))


def _measure(path):
    from sngan_tf.modes import spectra
    from sngan_tf.runs import summary

    folder = spectra.of_file(path)
    print("\n".join([f"spectra  {folder}", "", *summary.spectra_lines(folder)]))


def _workdirs():
    from absl import flags

    from sngan_tf.runs import workdir

    given, _ = _taken_out("config", sys.argv)
    return [workdir.Workdir(path, given or "") for path in flags.FLAGS.workdir]


def _run_modes(config, runs, only):
    from sngan_tf.runs import distribution
    from sngan_tf.runs import summary

    # All hosts train; one of them does the rest.
    is_chief = distribution.is_chief(config.get("distribution"))
    for mode in [only] if only else IN_TURN:
        if mode == "train" or is_chief:
            module = importlib.import_module(f"sngan_tf.modes.{mode}")
            made = getattr(module, mode)(config, *runs)
    if is_chief:
        print(f"report  {made}" if len(runs) > 1 else summary.table(*runs))


def _check_backend():
    # A backend of keras.json is for others; one of the environment is meant.
    given = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if given != "tensorflow":
        _fail(
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


def shipped_configs():
    """Returns the paths of the configs that come with this package, by name."""
    # They stand inside the package in a wheel, and beside it in a clone.
    folders = (_PACKAGE / "configs", _PACKAGE.parent / "configs")
    folder = next(filter(pathlib.Path.is_dir, folders))
    return {
        path.relative_to(folder).with_suffix("").as_posix(): path
        for path in sorted([*folder.glob("*.py"), *folder.glob("*/*.py")])
    }


def _parse(argv):
    from absl import flags

    # A default given to the flag itself would be loaded, and its fields
    # checked, even where another config is named.
    given, argv = _taken_out("config", argv)
    if given is None:
        given = _config_of_workdir(argv)
    path = _path_of(given)
    try:
        remaining = flags.FLAGS([argv[0], f"--config={path}", *argv[1:]])
        flags.FLAGS.config.to_dict()  # A file that fails to load fails here.
    except flags.IllegalFlagValueError as error:
        _fail(_rule_broken(error), code=2)
    except (AttributeError, TypeError) as error:
        _fail_on_unknown_field(argv)
        if isinstance(error, TypeError):
            _fail(_cause(error), code=2)
        _fail(f"`config` {given} lacks a field or function: {error}", code=2)
    except SyntaxError as error:
        _fail(f"`config` must be valid Python. {error}", code=2)
    except Exception as error:  # config files can raise any kind
        _fail(_cause(error), code=2)
    return remaining


def _taken_out(flag, argv):
    """Returns what a flag says, None without it, and the other arguments."""
    given, rest = None, []
    arguments = iter(argv)
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if name in (f"--{flag}", f"-{flag}"):
            given = value if equals else next(arguments, "")
        else:
            rest.append(argument)
    return given, rest


def _config_of_workdir(argv):
    """Returns the path of a run's own config; for a new run the default."""
    if _taken_out("model", argv)[0] is not None:
        return DEFAULT_CONFIG  # There is no run.
    if _taken_out("mode", argv)[0] == "score":
        return SCORE_CONFIG  # That of any pictures.
    given, _ = _taken_out("workdir", argv)
    saved = pathlib.Path(given or DEFAULT_WORKDIR) / "config.json"
    return str(saved) if saved.is_file() else DEFAULT_CONFIG


def _path_of(config):
    """Returns `PATH[:ARGUMENTS]` of a config's path or name with arguments."""
    if (path := pathlib.Path(config)).name == "config.json" and path.is_file():
        return f"{_PACKAGE / 'runs' / 'saved.py'}:{path}"
    name, colon, arguments = config.partition(":")
    shipped = shipped_configs()
    if name in shipped:
        name = str(shipped[name])
    elif not name.endswith(".py") or not pathlib.Path(name).is_file():
        _fail(
            "`config` must be a Python file, config.json of a run, or one of "
            f"{', '.join(shipped)}. Received: {config}",
            code=2,
        )
    return f"{name}{colon}{arguments}"


def _fail_on_unknown_field(argv):
    """Fails if an argument overrides a field that there is not."""
    from sngan_tf.runs import fields

    names = [field.name for field in fields.FIELDS]
    sections = {name.rpartition(".")[0] for name in names}
    for argument in argv:
        match = re.match(r"--?(?:no)?config\.([^=]+)", argument)
        if match and match[1] not in {*names, *sections}:
            # The section may be what is missing.
            near = [name for name in names if name.endswith(f".{match[1]}")]
            near = near or difflib.get_close_matches(match[1], names)
            _fail(
                f"`--config.{match[1]}` is no field; "
                + (f"near it: {', '.join(near)}" if near else "see --fields")
                + f". Received: {argument}",
                code=2,
            )


def _rule_broken(error):
    """Returns what a value must be that is not even of its field's kind."""
    from sngan_tf.runs import fields

    rules = {field.name: field.rule for field in fields.FIELDS}
    match = re.match(r"flag --config\.([^=]+)=(.*?): ", str(error))
    if not match or match[1] not in rules:
        return _cause(error)
    name, value = match.groups()
    default = fields.flat(fields.defaults().to_dict())[name]
    kind = {int: "a whole number, ", float: "a number, "}
    return (
        f"`{name}` must be {kind.get(type(default), '')}{rules[name]}. "
        f"Received: --config.{name}={value}"
    )


def _cause(error):
    """Returns what a config file said, out of the traceback it comes in."""
    text = str(error).strip()
    if "Traceback (most recent call last)" not in text:
        return text
    return text.splitlines()[-1].partition(": ")[2] or text.splitlines()[-1]


def _fail(error, code):
    message = str(error).replace("\\n", " ").replace("\\'", "'")
    message = " ".join(message.split()) or type(error).__name__
    print(f"{pathlib.Path(sys.argv[0]).name}: {message}", file=sys.stderr)
    sys.exit(code)
