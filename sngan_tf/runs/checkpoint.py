"""Checkpoints of a GAN: all that going on from one needs."""

import contextlib
import logging
import os
import re
import shutil

import numpy as np
import tensorflow as tf
from keras import ops

from sngan_tf.errors import Diverged
from sngan_tf.errors import UserError
from sngan_tf.errors import first_line

_LOGGER = logging.getLogger(__name__)
_PREFIX = "step"
_UNFINISHED = ".unfinished"


class Checkpoints:
    """Saves and restores a compiled GAN.

    Args:
        gan: A compiled `GAN`.
        directory: Folder of the checkpoints.
        keep: How many of the newest are kept, at least 1.
        keep_hours: Of those before, one for every so many hours is kept too;
            0 for none.
        records: Variables that the method's callbacks keep.
    """

    def __init__(self, gan, directory, keep, keep_hours=0.0, records=()):
        self._gan = gan
        self._directory = directory
        self._keep = keep
        self._keep_hours = keep_hours
        # TensorFlow doesn't find the variables of Keras's metrics by itself.
        losses = [v for metric in gan.metrics for v in metric.variables]
        self._checkpoint = tf.train.Checkpoint(
            gan=gan, losses=losses, records=[*records]
        )

    def save(self, step):
        """Saves the GAN as it is after `step` updates, whole or not at all.

        Raises:
            UserError: If a weight is not finite, or the disk refuses; what was
                saved before is kept.
        """
        check_finite(self._gan, step)
        unfinished = self._directory / _UNFINISHED
        try:
            _write(self._checkpoint, unfinished, self._directory, step)
            self._forget_old(step)
        except (OSError, tf.errors.OpError) as error:
            raise UserError(
                f"The checkpoint of update {step} can't be written "
                f"({first_line(error)}); the last one in {self._directory} is "
                "kept"
            ) from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    def restore(self):
        """Restores the newest checkpoint that can be read.

        A damaged one is passed over with a warning.

        Returns:
            The step, 0 where there is no checkpoint.

        Raises:
            UserError: If there are checkpoints and none can be read.
        """
        paths = _paths_in(self._directory)
        for _, path in sorted(paths.items(), reverse=True):
            try:
                status = self._checkpoint.read(str(path))
                status.assert_existing_objects_matched()
            except Exception as error:  # readers raise many kinds
                _LOGGER.warning(
                    "%s is damaged, passed over: %s", path, first_line(error)
                )
            else:
                return int(ops.convert_to_numpy(self._gan.step))
        if paths:
            raise UserError(
                f"No checkpoint in {self._directory} can be read; "
                f"the newest is {paths[max(paths)]}"
            )
        return 0

    def _forget_old(self, step):
        # Newer ones are damaged, or this one would have gone on from them.
        paths = [
            path
            for other, path in sorted(_paths_in(self._directory).items())
            if other <= step
        ]
        older, newest = paths[: -self._keep], paths[-self._keep :]
        kept = _spaced(older, self._keep_hours)
        # TensorFlow's own list, for those who look there.
        tf.compat.v1.train.update_checkpoint_state(
            str(self._directory),
            newest[-1].name,
            [path.name for path in kept + newest],
        )
        for path in older:
            if path not in kept:
                for file in _files_of(path):
                    file.unlink()


def check_finite(gan, step):
    """Raises a Diverged if a weight after `step` updates is not finite."""
    for weight in gan.weights:
        if not np.all(np.isfinite(ops.convert_to_numpy(weight))):
            raise Diverged(
                f"{weight.path} is not finite after update {step}; the last "
                "checkpoint is kept"
            )


def latest_step(directory):
    """Returns the step of a folder's newest checkpoint, 0 without one."""
    return max(_paths_in(directory), default=0)


def _write(checkpoint, unfinished, directory, step):
    # Not in the folder itself, where a kill would leave half of one. The
    # index is moved last, as it makes a checkpoint of the files beside it.
    unfinished.mkdir(parents=True, exist_ok=True)
    name = f"{_PREFIX}-{step}"
    checkpoint.write(str(unfinished / name))
    for file in _files_of(unfinished / name):
        os.replace(file, directory / file.name)


def _files_of(path):
    """Returns the files of a checkpoint, its index last."""
    index = path.with_name(f"{path.name}.index")
    return [*path.parent.glob(f"{path.name}.data-*"), index]


def _spaced(paths, hours):
    """Returns those of the paths, oldest first, that are hours apart."""
    kept, last = [], None
    for path in paths if hours else []:
        with contextlib.suppress(OSError):
            time = _files_of(path)[-1].stat().st_mtime
            # Either way, should the clock have been set back.
            if last is None or abs(time - last) >= hours * 3600:
                kept.append(path)
                last = time
    return kept


def _paths_in(directory):
    """Returns the checkpoints of a folder, by step."""
    return {
        int(match.group(1)): path.with_suffix("")
        for path in directory.glob(f"{_PREFIX}-*.index")
        if (match := re.fullmatch(rf"{_PREFIX}-(\d+)", path.stem))
    }
