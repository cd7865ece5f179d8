"""What a time must be read with: the processor, its rate, the commit."""

import importlib.metadata
import importlib.util
import pathlib
import platform
import statistics
import subprocess
import time

SIZE = 3_000
_ROOT = pathlib.Path(__file__).resolve().parents[1]


def cpu():
    """Returns the name of the processor."""
    try:
        rows = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # Not on Linux.
        rows = []
    for row in rows:
        if row.startswith("model name"):
            return row.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def commit():
    """Returns the short commit of this package, or without git its version.

    It ends in `+` where files that git knows have changed since.
    """

    def git(*command):
        return subprocess.run(
            ["git", *command], cwd=_ROOT, capture_output=True, text=True
        ).stdout.strip()

    try:
        # An environment may lie in the clone of something else.
        if git("ls-files", "sngan_tf/__init__.py"):
            changed = git("status", "--porcelain", "--untracked-files=no")
            return git("rev-parse", "--short", "HEAD") + "+" * bool(changed)
    except OSError:  # There is no git.
        pass
    return importlib.metadata.version("sngan_tf")


def versions():
    """Returns `{name: version}` of Python and what computes."""
    names = ("keras", "tensorflow", "numpy")
    found = {name: importlib.metadata.version(name) for name in names}
    return {"python": platform.python_version(), **found}


def flop(size=SIZE):
    """Returns the operations of a product of two square matrices."""
    return 2 * size**3


def products(size=SIZE):
    """Returns `{library: function}` that multiply two square matrices.

    TensorFlow is left out where it isn't installed.
    """
    import numpy as np

    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(2, size, size)).astype(np.float32)
    found = {"numpy": lambda: left @ right}
    if importlib.util.find_spec("tensorflow"):
        import tensorflow as tf

        a, b = tf.constant(left), tf.constant(right)
        # Looked at, as a device may still be at work when a call returns.
        found["tensorflow"] = lambda: tf.matmul(a, b)[0, 0].numpy()
    return found


def rate(multiply, size=SIZE, repeats=9):
    """Returns the median and the best rate of a product, in GFLOP/s."""
    multiply()
    rates = []
    for _ in range(repeats):
        began = time.perf_counter()
        multiply()
        rates.append(flop(size) / (time.perf_counter() - began) / 1e9)
    return statistics.median(rates), max(rates)
