"""The flags of the command: what there is, and what is told of wrong ones."""

import difflib
import os
import pathlib
import re
import sys

IN_TURN = ("train", "evaluate", "sample", "export", "report")
MODES = (*IN_TURN, "spectra", "score", "study", "serve")
DEFAULT_CONFIG = "digits"
DEFAULT_WORKDIR = "runs/digits"
SCORE_CONFIG = "default"
FLAGS = (
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


def define(description):
    """Defines the flags.

    Args:
        description: Of the command, for --help.
    """
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
    for name in FLAGS:
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS[name])
    sys.modules["__main__"].__doc__ = description


def parse(argv):
    """Parses the flags, and loads the config; the parser of `app.run`."""
    from absl import flags

    # A default given to the flag itself would be loaded, and its fields
    # checked, even where another config is named.
    given, argv = taken_out("config", argv)
    if given is None:
        given = _config_of_workdir(argv)
    path = _path_of(given)
    try:
        remaining = flags.FLAGS([argv[0], f"--config={path}", *argv[1:]])
        flags.FLAGS.config.to_dict()  # A file that fails to load fails here.
    except flags.IllegalFlagValueError as error:
        fail(_rule_broken(error), code=2)
    except (AttributeError, TypeError) as error:
        _fail_on_unknown_field(argv)
        if isinstance(error, TypeError):
            fail(_cause(error), code=2)
        fail(f"`config` {given} lacks a field or function: {error}", code=2)
    except SyntaxError as error:
        fail(f"`config` must be valid Python. {error}", code=2)
    except Exception as error:  # config files can raise any kind
        fail(_cause(error), code=2)
    return remaining


def given():
    """Returns what was given, absl's `FLAGS`."""
    from absl import flags

    return flags.FLAGS


def check(given):
    """Fails on flags that don't go together.

    Args:
        given: As of `given`.
    """
    _check_model(given.model, given.mode)
    _check_study(given)
    _check_server(given)
    _check_workdirs(given.workdir, given.mode)
    _check_score(given)


def _check_model(path, mode):
    """Fails on a model that is no file, or is given to another mode."""
    if path is None:
        return
    if mode != "spectra":
        given = f"with --mode={mode}" if mode else "without --mode"
        fail(
            "`model` is for --mode=spectra alone. Received: "
            f"--model={path} {given}",
            code=2,
        )
    if not path.endswith(".keras") or not pathlib.Path(path).is_file():
        fail(f"`model` must be a .keras file. Received: --model={path}", code=2)


def _check_study(given):
    """Fails where a study, or what is for one, is given to another mode."""
    is_study = "study" in given.config
    if given.mode == "study" and not is_study:
        fail(
            "`config` must be a study, such as configs/studies/gradient.py, "
            "for --mode=study",
            code=2,
        )
    if given.mode == "study":
        return
    if is_study:
        fail("`mode` must be study for the config of a study", code=2)
    if given.cells or given.draw:
        fail("`cells` and `draw` are for --mode=study alone", code=2)


def _check_server(given):
    """Fails on a port that is none, or what is for the server elsewhere."""
    if not re.fullmatch("[0-9]{1,5}", given.port) or int(given.port) > 65535:
        fail(
            "`port` must be a whole number, in [0, 65535]. Received: "
            f"--port={given.port}",
            code=2,
        )
    if given.mode != "serve" and (
        given["host"].present or given["port"].present
    ):
        fail("`host` and `port` are for --mode=serve alone", code=2)


def _check_workdirs(paths, mode):
    """Fails on several folders that are not to be compared, or wrong names."""
    for path in paths:
        if path.encode(errors="replace") != os.fsencode(path):
            fail(
                "`workdir` must be UTF-8, which TensorFlow asks of names. "
                f"Received: --workdir={path!a}",
                code=2,
            )
    if len(paths) > 1 and mode != "report":
        fail(
            "`workdir` must be given once, but for --mode=report. Received: "
            + " ".join(f"--workdir={path}" for path in paths),
            code=2,
        )


def _check_score(given):
    """Fails where pictures lack that are to be scored, or another mode is."""
    received = f"Received: --real={given.real} --fake={given.fake}"
    if given.mode == "score" and not (given.real and given.fake):
        fail(
            "`real` and `fake` must both be folder:PATH or the name of a data "
            f"set, for --mode=score. {received}",
            code=2,
        )
    if given.mode != "score" and (given.real or given.fake):
        fail(f"`real` and `fake` are for --mode=score alone. {received}", 2)


def shipped_configs():
    """Returns the paths of the configs that come with this package, by name."""
    # They stand inside the package in a wheel, and beside it in a clone.
    folders = (_PACKAGE / "configs", _PACKAGE.parent / "configs")
    folder = next(filter(pathlib.Path.is_dir, folders))
    return {
        path.relative_to(folder).with_suffix("").as_posix(): path
        for path in sorted([*folder.glob("*.py"), *folder.glob("*/*.py")])
    }


def taken_out(flag, argv):
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
    if taken_out("model", argv)[0] is not None:
        return DEFAULT_CONFIG  # There is no run.
    if taken_out("mode", argv)[0] == "score":
        return SCORE_CONFIG  # That of any pictures.
    given, _ = taken_out("workdir", argv)
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
        fail(
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
            fail(
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


def fail(error, code):
    """Ends the command with one line."""
    message = str(error).replace("\\n", " ").replace("\\'", "'")
    message = " ".join(message.split()) or type(error).__name__
    print(f"{pathlib.Path(sys.argv[0]).name}: {message}", file=sys.stderr)
    sys.exit(code)
