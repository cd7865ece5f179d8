"""Checkpoints of a GAN: weights, `u`, averages, optimizers and the step."""

import logging
import re

import numpy as np
import tensorflow as tf
from keras import ops

from sngan_tf.errors import UserError
from sngan_tf.errors import first_line

_LOGGER = logging.getLogger(__name__)
_PREFIX = "step"


class Checkpoints:
    """Saves and restores a compiled GAN.

    Args:
        gan: A compiled `GAN`.
        directory: Folder of the checkpoints.
        keep: How many are kept; the oldest go first.
    """

    def __init__(self, gan, directory, keep):
        self._gan = gan
        self._directory = directory
        self._checkpoint = tf.train.Checkpoint(gan=gan)
        try:
            tf.train.get_checkpoint_state(str(directory))
        except ValueError:
            # The manager's list is empty, as a full disk leaves it; without
            # one it starts anew.
            (directory / "checkpoint").unlink()
        self._manager = tf.train.CheckpointManager(
            self._checkpoint,
            str(directory),
            max_to_keep=keep,
            checkpoint_name=_PREFIX,
        )

    def save(self, step):
        """Saves the GAN as it is after `step` updates.

        Raises:
            UserError: If a weight is not finite; nothing is written then.
        """
        for weight in self._gan.weights:
            if not np.all(np.isfinite(ops.convert_to_numpy(weight))):
                raise UserError(
                    f"{weight.path} is not finite after update {step}; the "
                    "last checkpoint is kept"
                )
        self._manager.save(checkpoint_number=step)

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
                status = self._checkpoint.restore(path)
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


def latest_step(directory):
    """Returns the step of a folder's newest checkpoint, 0 without one."""
    return max(_paths_in(directory), default=0)


def _paths_in(directory):
    # The files themselves, as the manager's own list may be damaged.
    return {
        int(match.group(1)): str(path.with_suffix(""))
        for path in directory.glob(f"{_PREFIX}-*.index")
        if (match := re.fullmatch(rf"{_PREFIX}-(\d+)", path.stem))
    }
