"""Prints what a time must be read with: the machine, its rate, the versions.

    python benchmarks/machine.py

The rate is that of a float32 product of two 3,000 x 3,000 matrices on two
threads, 54 GFLOP, the median of some repeats. It is taken by NumPy's library
and by TensorFlow's, as either is behind on some processors; what steps are held
against is the faster.
"""

import argparse
import importlib.metadata
import os
import pathlib
import platform

from sngan_tf.machine import SIZE
from sngan_tf.machine import commit
from sngan_tf.machine import cpu
from sngan_tf.machine import flop
from sngan_tf.machine import products
from sngan_tf.machine import rate

__all__ = ["SIZE", "commit", "flop", "products", "rate"]

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

ROOT = pathlib.Path(__file__).resolve().parents[1]
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

    It imports no library. Versions are `{name: version}` of what is installed.
    """
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "cpu": cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "versions": versions,
        "onednn": os.environ["TF_ENABLE_ONEDNN_OPTS"],
        "commit": commit(),
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


if __name__ == "__main__":
    main()
