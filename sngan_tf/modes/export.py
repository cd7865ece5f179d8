"""`--mode=export`: the generator as a plain SavedModel."""

import os
import shutil

import keras

from sngan_tf.gan import sampler as sampler_lib
from sngan_tf.runs import build


def export(config, workdir):
    """Writes `export/generator/`, which loads with TensorFlow alone.

    `serving_default` takes `latents` float32 `(batch, latent_dim)`, and
    `labels` int32 `(batch,)` if conditional; `sample` takes `seed` and
    `count`, int32 scalars, and makes all classes in turn. Both return
    `images`, uint8 `(batch, height, width, channels)`.

    Returns:
        The folder.
    """
    gan = build.restored_gan(config, workdir)
    save(gan.sampling_generator, workdir.generator, gan.num_classes)
    return workdir.generator


def save(generator, folder, num_classes=None):
    """Writes the SavedModel of a generator, replacing one as a whole."""
    sampler = sampler_lib.Sampler(generator, num_classes)
    archive = keras.export.ExportArchive()
    archive.track(generator)
    archive.add_endpoint("serving_default", sampler.images)
    archive.add_endpoint("sample", sampler.sample)
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    archive.write_out(str(temporary), verbose=False)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(temporary, folder)
