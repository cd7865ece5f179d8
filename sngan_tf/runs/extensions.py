"""Files of others with rows for the package's tables.

An extension is a Python file, or a module, with one or more of `METHODS`,
`NETWORKS`, `DATA_SETS` and `METRICS`. To import it changes nothing; to load it
adds its rows to the tables of those names, once in a process.
"""

import importlib
import importlib.util
import logging
import pathlib
import sys
import traceback
from collections.abc import Callable

from sngan_tf import data
from sngan_tf import networks
from sngan_tf.errors import UserError
from sngan_tf.errors import first_line
from sngan_tf.gan import methods
from sngan_tf.metrics import scorer

_LOGGER = logging.getLogger(__name__)

# By its name in the package and in extensions: the table, and what rows are.
TABLES = {
    "METHODS": (methods.METHODS, methods.Method),
    "NETWORKS": (networks.NETWORKS, networks.Network),
    "DATA_SETS": (data.DATA_SETS, Callable),
    "METRICS": (scorer.METRICS, scorer.Metric),
}
_LOADED: set[str] = set()


def load(text: str) -> str:
    """Adds the rows of extensions, which runs their code.

    Args:
        text: Paths of Python files and names of modules, with a comma between.

    Returns:
        The same, with absolute paths.

    Raises:
        UserError: On one that can't be imported, has no table, or a row that
            is none or of a name that is taken.
    """
    names = _names(text)
    for name in names:
        if name not in _LOADED:
            _add(name, _module(name))
            _LOADED.add(name)
            _LOGGER.info("Extension: %s", name)
    return ",".join(names)


def are_loaded(text: str) -> bool:
    """Returns whether to load these would run nothing."""
    return _LOADED.issuperset(_names(text))


def _names(text):
    names = (name.strip() for name in text.split(","))
    return [
        str(pathlib.Path(name).resolve()) if name.endswith(".py") else name
        for name in names
        if name
    ]


def _module(name):
    try:
        if not name.endswith(".py"):
            return importlib.import_module(name)
        spec = importlib.util.spec_from_file_location(name, name)
        module = importlib.util.module_from_spec(spec)
        # Dataclasses and Keras look classes up by the names of modules.
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module
    except Exception as error:  # whatever the file raises
        sys.modules.pop(name, None)
        raise UserError(
            "`extensions` must be Python files, or modules, that can be "
            "imported, with a comma between. Received: "
            f"{name} ({_where(error, name)}{type(error).__name__}: "
            f"{first_line(error)})"
        ) from error


def _where(error, path):
    """Returns the last line of a file that led to an error, in words."""
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == path
    ]
    return f"line {lines[-1]}, " if lines else ""


def _add(name, module):
    found = {
        table: rows for table, rows in vars(module).items() if table in TABLES
    }
    if not found:
        raise UserError(
            f"`extensions` must have one or more of {', '.join(TABLES)}. "
            f"Received: {name}, which has none"
        )
    for table, rows in found.items():
        known, kind = TABLES[table]
        if not isinstance(rows, dict):
            raise UserError(
                f"`extensions` must have a dict as {table}. "
                f"Received: {name} with {table}={rows!r}"
            )
        for key, row in rows.items():
            is_folder = f"{key}:" == data.folder.PREFIX
            if key in known or (table == "DATA_SETS" and is_folder):
                raise UserError(
                    f"`extensions` must bring new names alone. Received: {name}"
                    f" with {key}, which is in {table} already"
                )
            if not isinstance(row, kind):
                raise UserError(
                    f"`extensions` must have a {kind.__name__} in each row of "
                    f"{table}. Received: {name} with {key}={row!r}"
                )
    for table, rows in found.items():
        known, _ = TABLES[table]
        known.update(rows)
