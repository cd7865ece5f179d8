"""Prints what a time must be read with: the machine, its rate, the versions.

    python benchmarks/machine.py

The rate is that of a float32 product of two 3,000 x 3,000 matrices on two
threads, 54 GFLOP, the median of some repeats. It is taken by NumPy's library
and by TensorFlow's, as either is behind on some processors; what steps are held
against is the faster.
"""

import argparse
import importlib.metadata
import importlib.util
import os
import pathlib
import platform
import statistics
import subprocess
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

ROOT = pathlib.Path(__file__).resolve().parents[1]
SIZE = 3_000
THREADS = 2
_PACKAGES = ("numpy", "tensorflow", "keras", "torch", "jax")
# Read when a library is loaded, so before anything imports one.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=SIZE)
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    os.environ.update(thread_variables(THREADS))
    print(line(description()))
    rates = {
        name: rate(multiply, arguments.size, arguments.repeats)
        for name, multiply in products(arguments.size).items()
    }
    for name, (median, best) in rates.items():
        print(f"{name:12}{median:8.1f} GFLOP/s, {best:.1f} at best")
    fastest = max(median for median, _ in rates.values())
    print(f"float32 matrix product: {fastest:.1f} GFLOP/s")


def thread_variables(threads):
    """Returns the variables that hold every library to so many threads."""
    return {name: str(threads) for name in _THREAD_VARIABLES}


def description():
    """Returns `{"cpu", "cores", "versions", "onednn", "commit"}`.

    It imports no library. Versions are `{name: version}` of what is installed,
    and `commit` ends in `+` where files that git knows have changed since.
    """
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "versions": versions,
        "onednn": os.environ["TF_ENABLE_ONEDNN_OPTS"],
        "commit": _commit(),
    }


def line(description):
    """Returns a `description` in words."""
    versions = description["versions"].items()
    return (
        f"{description['cpu']}, {description['cores']} cores; "
        + ", ".join(f"{name} {version}" for name, version in versions)
        + f"; TF_ENABLE_ONEDNN_OPTS={description['onednn']}; "
        f"commit {description['commit']}"
    )


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


def _cpu():
    for row in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if row.startswith("model name"):
            return row.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit():
    def git(*command):
        return subprocess.run(
            ["git", *command], cwd=ROOT, capture_output=True, text=True
        ).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + "+" * bool(
        changed
    )


if __name__ == "__main__":
    main()
