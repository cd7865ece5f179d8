"""When a run was trained, and by what: a row for each time that it was."""

import contextlib
import datetime
import logging
import time

import tensorflow as tf

from sngan_tf import files
from sngan_tf import machine
from sngan_tf.errors import UserError
from sngan_tf.runs import build

_LOGGER = logging.getLogger(__name__)
_KINDS = ("TPU", "GPU", "CPU")


@contextlib.contextmanager
def recorded(path, step, replicas):
    """A context of which a row is kept, however it ends.

    With `began` (UTC), `seconds`, the update at its `start` and the `step` that
    it reached, versions, `commit`, `processor`, `onednn` and `devices`.

    Args:
        path: `sessions.jsonl` of a workdir.
        step: Function to the updates so far.
        replicas: Number of devices that train.
    """
    row = {
        "began": datetime.datetime.now(datetime.UTC).isoformat(" ", "seconds"),
        "start": step(),
        **machine.versions(),
        "commit": machine.commit(),
        "processor": machine.cpu(),
        "onednn": build.onednn(),
        "devices": f"{replicas} x {_kind()}",
    }
    began = time.monotonic()
    try:
        yield
    finally:
        seconds = round(time.monotonic() - began, 1)
        try:
            files.append_row(path, {**row, "step": step(), "seconds": seconds})
        except UserError as error:  # What ended the training is to be told.
            _LOGGER.warning("%s", error)


def _kind():
    return next(k for k in _KINDS if tf.config.list_logical_devices(k))
