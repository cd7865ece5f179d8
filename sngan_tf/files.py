"""Files that are whole or not there at all, files of rows, and the cache."""

import contextlib
import ctypes
import fcntl
import json
import logging
import os
import pathlib
import re
import shutil
import time
import uuid

from sngan_tf.errors import first_line
from sngan_tf.errors import writing

_LOGGER = logging.getLogger(__name__)
_DAY = 24 * 60 * 60
_TEMPORARY = re.compile(r"\.[0-9a-f]{32}-(.+)")
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
    # No number of a process, which those of other hosts and threads share.
    temporary = path.with_name(f".{uuid.uuid4().hex}-{path.name}")
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
    renames.) On an error the new one is deleted, and the old one stays. Of
    several writers one waits for the other.
    """
    path = pathlib.Path(path).resolve()
    temporary = path.with_name(f".{path.name}.tmp")
    with one_writer(path):
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


@contextlib.contextmanager
def one_writer(path):
    """A context that a single process or thread at a time is in, for each path.

    The others wait at its beginning, so that what one makes they need not: look
    for the file again inside. What killed writers left a day ago is deleted.
    Where the system has no locks all go on, and `replacing` keeps the file
    whole.

    Args:
        path: A file or folder that is replaced; where it lies is made.
    """
    path = pathlib.Path(path)
    lock = path.with_name(f".{path.name}.lock")
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(_locked(lock))
            stack.callback(lock.unlink, missing_ok=True)
            forget_left(path.parent, path.name)
        except OSError as error:
            _LOGGER.warning("%s can't be locked: %s", lock, first_line(error))
        yield


def made_once(path, read, make):
    """Returns what is in a file, which one process at a time makes.

    Args:
        path: The file.
        read: Function to what is in it, None if it is not there or damaged.
        make: Function that writes it and returns the same.
    """
    found = read()
    if found is None:
        with one_writer(path):
            found = read()  # Another may have made it meanwhile.
            if found is None:
                found = make()
    return found


def forget_left(folder, name=None):
    """Deletes what killed writers left a day ago, in a folder and below.

    Younger ones may be of writers that live, on other hosts too.

    Args:
        folder: Where they wrote.
        name: Of the file that they wrote; None for all files.
    """
    for path in folder.rglob(".*"):
        found = _TEMPORARY.fullmatch(path.name)
        if not found or name not in (None, found[1]):
            continue
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _DAY:
                path.unlink()


def _locked(lock):
    """Returns the lock's file, open, once no other writer has it."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(lock.open("a"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                _LOGGER.info("Waiting for another process to free %s", lock)
                fcntl.flock(file, fcntl.LOCK_EX)
            # It is deleted by whoever had it, and may be there anew.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), lock.stat()):
                    stack.pop_all()
                    return file


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


def add_rows(path, rows):
    """Adds the rows that a `.jsonl` file doesn't hold already, or none."""
    known = read_rows(path)
    write_rows(path, known + [row for row in rows if row not in known])


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
