"""Files that are whole or not there at all, files of rows, and the cache."""

import contextlib
import json
import os
import pathlib
import re

from sngan_tf.errors import writing

_TEMPORARY = re.compile(r"\.(\d+)-.+")  # Of which process.


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


def forget_unfinished(folder):
    """Deletes what a kill within `replacing` has left in a folder or below.

    That of other processes of this machine stays as long as they live.
    """
    for path in folder.rglob(".*"):
        found = _TEMPORARY.fullmatch(path.name)
        if found and not _is_anothers(int(found[1])):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def _is_anothers(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return process != os.getpid()


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
