"""`--mode=export`: both networks, for TensorFlow Serving and others."""

import tensorflow as tf

from sngan_tf.errors import UserError
from sngan_tf.errors import first_line
from sngan_tf.runs import build
from sngan_tf.runs import exports


def export(config, workdir):
    """Writes a new version into `export/`; see `exports.write`.

    The SavedModels load with TensorFlow alone. What they offer,
    `gan.serving` says.

    Returns:
        The folder of the generator's SavedModel.

    Raises:
        UserError: If there is no checkpoint, the disk refuses, or a package
            is missing that a format needs.
    """
    gan = build.restored_gan(config, workdir)
    names = [*filter(None, config.export.formats.split(","))]
    try:
        return exports.write(
            gan, workdir, config.checkpoint, config.export.keep, names
        )
    except (OSError, tf.errors.OpError) as error:
        raise UserError(
            f"{workdir.exports} can't be written ({first_line(error)}); "
            "what was exported before is kept"
        ) from error
