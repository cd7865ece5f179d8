"""Files that are whole or not there at all."""

import contextlib
import os
import pathlib


def replace(path, content):
    """Writes bytes to a file at once or not at all.

    Args:
        path: The file; its folder must exist.
        content: Bytes.
    """
    path = pathlib.Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
