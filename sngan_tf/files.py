"""Files that are whole or not there at all."""

import contextlib
import os
import pathlib


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
