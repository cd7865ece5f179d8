"""`--mode=export`: the generator as a plain SavedModel."""

from sngan_tf.errors import writing
from sngan_tf.runs import build


def export(config, workdir):
    """Writes `export/generator/`, which loads with TensorFlow alone.

    What it offers, `gan.serving.save` says.

    Returns:
        The folder.
    """
    gan = build.restored_gan(config, workdir)
    class_names = config.data.class_names if gan.num_classes else ()
    with writing(workdir.generator):
        gan.export(workdir.generator, class_names=class_names)
    return workdir.generator
