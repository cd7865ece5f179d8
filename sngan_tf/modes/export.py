"""`--mode=export`: the generator as a plain SavedModel."""

import tensorflow as tf

from sngan_tf.errors import UserError
from sngan_tf.errors import first_line
from sngan_tf.runs import build


def export(config, workdir):
    """Writes `export/generator/`, which loads with TensorFlow alone.

    What it offers, `gan.serving.save` says.

    Returns:
        The folder.

    Raises:
        UserError: If there is no checkpoint, or the disk refuses.
    """
    gan = build.restored_gan(config, workdir)
    try:
        gan.export(workdir.generator)
    except (OSError, tf.errors.OpError) as error:
        raise UserError(
            f"{workdir.generator} can't be written ({first_line(error)}); "
            "what was exported before is kept"
        ) from error
    return workdir.generator
