"""What a process holds in memory, as Linux says it."""

import pathlib


def held(field="VmRSS", process="self"):
    """Returns a line of a process's status in MiB, 0 if it has ended.

    Args:
        field: `"VmRSS"` for what is held now, `"VmHWM"` for the peak.
        process: Its number, or `"self"`.
    """
    status = pathlib.Path(f"/proc/{process}/status").read_text()
    for line in status.splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    return 0.0
