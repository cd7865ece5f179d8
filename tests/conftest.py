"""What tests have on any backend of Keras: KERAS_BACKEND, or TensorFlow.

On another those of what runs on any backend are collected, and TensorFlow is as
good as not installed.
"""

import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# TensorFlow turns oneDNN on by itself only on some processors.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import pytest

BACKEND = keras.backend.backend()
if BACKEND != "tensorflow":
    sys.modules["tensorflow"] = None
TESTS = pathlib.Path(__file__).parent
# The tests of what runs on any backend.
ANY_BACKEND = (
    "layers",
    "certificates",
    "networks",
    "gan/losses_test.py",
    "gan/methods_test.py",
    "gan/penalties_test.py",
    "gan/schedules_test.py",
    "train_full_size_test.py",
    "train_jax_test.py",
)
# Threads, fixtures and what else a backend needs.
pytest_plugins = [f"on_{BACKEND}"]
_DIFFERENCES = {}


def pytest_report_header():
    if BACKEND != "tensorflow":
        return (
            f"backend {BACKEND}, without TensorFlow: {', '.join(ANY_BACKEND)}"
        )
    return "backend tensorflow"


def pytest_ignore_collect(collection_path):
    """Leaves out what is in none of the folders and files, nor above one."""
    if BACKEND == "tensorflow" or not collection_path.is_relative_to(TESTS):
        return None
    wanted = [TESTS / name for name in ANY_BACKEND]
    near = (
        path.is_relative_to(collection_path)
        or collection_path.is_relative_to(path)
        for path in wanted
    )
    return None if any(near) else True


def pytest_addoption(parser):
    parser.addoption(
        "--agreement",
        action="store_true",
        help="print how far results were from their oracles; with -n 0",
    )
    parser.addoption(
        "--extensions",
        default="",
        help="Python files whose methods and networks are tested like ours",
    )


def pytest_configure(config):
    if text := config.getoption("extensions"):
        from sngan_tf.runs import extensions

        extensions.load(text)


@pytest.fixture(autouse=True)
def agreement(request, monkeypatch):
    """Notes the largest relative difference of each test, if asked to."""
    if not request.config.getoption("agreement"):
        return
    name = request.node.nodeid.partition("[")[0]
    check = np.testing.assert_allclose

    def noting(actual, desired, *args, **kwargs):
        expected = np.asarray(desired, np.float64)
        found = np.max(np.abs(np.asarray(actual, np.float64) - expected))
        scale = np.max(np.abs(expected))
        worst = _DIFFERENCES.get(name, 0.0)
        _DIFFERENCES[name] = max(worst, float(found / (scale or 1.0)))
        check(actual, desired, *args, **kwargs)

    monkeypatch.setattr(np.testing, "assert_allclose", noting)


def pytest_terminal_summary(terminalreporter):
    for name, difference in _DIFFERENCES.items():
        terminalreporter.write_line(f"{difference:8.1e}  {name}")


def pytest_runtest_setup(item):
    if BACKEND != "tensorflow" and item.get_closest_marker("one_backend"):
        pytest.skip("counts, shapes or many compiles: enough on TensorFlow")


@pytest.fixture(autouse=True)
def fixed_seed():
    keras.utils.set_random_seed(0)


@pytest.fixture
def tf():
    """Returns TensorFlow, for tests of what it alone has."""
    if BACKEND != "tensorflow":
        pytest.skip("about functions, strategies or files of TensorFlow")
    import tensorflow as tf

    return tf


@pytest.fixture(params=["eager", "graph"])
def function(request):
    """Returns what makes a callable a `tf.function`, or leaves it alone."""
    if request.param == "eager":
        return lambda call: call
    return request.getfixturevalue("tf").function


@pytest.fixture
def two_replicas(tf):
    from sngan_tf.runs import distribution

    return distribution.strategy("mirrored")
