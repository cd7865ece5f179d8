"""The command, in processes that have imported everything already."""

import multiprocessing
import os
import sys

import small

from sngan_tf import command
from sngan_tf import networks

PRELOADED = ["sngan_tf.modes.train", "sngan_tf.modes.evaluate"]


def context():
    """Returns what starts processes that have imported everything already."""
    forkserver = multiprocessing.get_context("forkserver")
    forkserver.set_forkserver_preload(PRELOADED)
    return forkserver


def start(folder, arguments, stdout, stderr, environment, small_networks=False):
    """Starts `python main.py` in a folder; returns the process.

    Args:
        folder: Where it runs.
        arguments: Its flags.
        stdout: File for what it prints.
        stderr: File for what it says; may be the same.
        environment: Variables that are set beside those of the tests.
        small_networks: Whether its networks are those of `small`.
    """
    process = context().Process(
        target=_run,
        args=(folder, arguments, (stdout, stderr), environment, small_networks),
    )
    process.start()
    return process


def _run(folder, arguments, outputs, environment, small_networks):
    for descriptor, path in enumerate(outputs, start=1):
        with path.open("a") as file:
            os.dup2(file.fileno(), descriptor)
    os.chdir(folder)
    os.environ.update(environment)
    if small_networks:
        networks.build = small.build
    sys.argv = ["main.py", *arguments]
    command.run()
