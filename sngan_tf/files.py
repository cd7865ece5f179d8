"""Files that are whole or not there at all, files of rows, and the cache."""

import contextlib
import ctypes
import json
import os
import pathlib
import shutil

from sngan_tf.errors import writing

# Of Linux's renameat2.
_HERE, _EXCHANGE = -100, 2


def cache_directory():
    """Returns where what is made once, for all runs, is kept.

    It is `$SNGAN_TF_CACHE`, by default `~/.cache/sngan_tf`.
    """
    default = pathlib.Path.home() / ".cache" / "sngan_tf"
    return pathlib.Path(os.environ.get("SNGAN_TF_CACHE", default))


@contextlib.contextmanager
def replacing(path):
    """Yields a temporary path, which takes the place of `path` at the end.

    On an error it is deleted, and what was there before stays.

    Args:
        path: A file, the suffix of which the temporary one has too; its folder
            is made.
    """
    path = pathlib.Path(path)
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_folder(path):
    """Yields a temporary folder, which takes the place of `path` at the end.

    At every moment `path` is the old folder or the new one. (Where the system
    can't exchange two, as some network disks can't, it is neither between two
    renames.) On an error the new one is deleted, and the old one stays.
    """
    path = pathlib.Path(path).resolve()
    temporary = path.with_name(f".{path.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if path.is_dir():
            _exchange(path, temporary)
        else:
            os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _exchange(one, other):
    try:
        rename = ctypes.CDLL(None).renameat2
        paths = os.fsencode(one), os.fsencode(other)
        failed = rename(_HERE, paths[0], _HERE, paths[1], _EXCHANGE)
    except AttributeError:  # Not on Linux.
        failed = True
    if failed:
        aside = one.with_name(f".{one.name}.old")
        shutil.rmtree(aside, ignore_errors=True)
        os.replace(one, aside)
        os.replace(other, one)
        os.replace(aside, other)


def write_text(path, text):
    """Writes a file at once or not at all.

    Raises:
        UserError: If the disk refuses.
    """
    with writing(path), replacing(path) as temporary:
        temporary.write_text(text)


def write_rows(path, rows):
    """Writes a `.jsonl` file, one JSON object a line, as `write_text` does."""
    write_text(path, "".join(map(_line, rows)))


def append_row(path, row):
    """Appends one JSON object as a line.

    Raises:
        UserError: If the disk refuses.
    """
    with writing(path), path.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read() != b"\n":  # A half-written row.
                file.write(b"\n")
        file.write(_line(row).encode())


def read_rows(path):
    """Returns the rows of a `.jsonl` file, none if there is no such file.

    Half-written ones are left out.
    """
    rows = []
    if not path.exists():
        return rows
    for line in path.read_text().splitlines():
        with contextlib.suppress(ValueError):
            rows.append(json.loads(line))
    return rows


def _line(row):
    return json.dumps(row) + "\n"
