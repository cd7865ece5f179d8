"""Generators as SavedModels that load with TensorFlow alone."""

import contextlib
import json

import keras
import tensorflow as tf

from sngan_tf import files

# Where SavedModels have what others than TensorFlow add.
_METADATA = "assets.extra/metadata.json"


def save(sampler, path, class_names=(), step=0, verbose=False):
    """Writes a SavedModel, in the place of an older one at once or not at all.

    Its signatures return `images`, uint8 `(batch, height, width, channels)`:

    - `serving_default` of `latents` float32 `(batch, latent_dim)`, and
      `labels` int32, `(batch,)`, or `(1,)` for all, if conditional;
    - `sample` of `seed` and `count`, int32 scalars, all classes in turn;
    - `sample_class`, if conditional, of a `label` beside these, -1 for all
      classes in turn.

    `metadata` takes nothing and returns `class_names` string `(num_classes,)`,
    `step`, `latent_dim` and `image_shape`. The same is in the file
    `assets.extra/metadata.json`.

    Args:
        sampler: `Sampler` of the generator.
        path: The folder.
        class_names: Name of each class of a conditional generator; empty
            where they have none.
        step: Generator updates that it was trained for.
        verbose: Whether to print what is saved.
    """
    metadata = {
        "step": step,
        "latent_dim": sampler.latent_dim,
        "image_shape": [*sampler.image_shape],
        "class_names": [*class_names],
    }
    archive = keras.export.ExportArchive()
    archive.track(sampler.generator)
    archive.add_endpoint("serving_default", sampler.images)
    archive.add_endpoint("sample", sampler.sample)
    if sampler.num_classes:
        archive.add_endpoint("sample_class", sampler.sample_class)
    archive.add_endpoint("metadata", _constants(metadata))
    with files.replacing_folder(path) as temporary:
        archive.write_out(str(temporary), verbose=verbose)
        text = json.dumps(metadata, indent=2) + "\n"
        files.write_text(temporary / _METADATA, text)


def newest(folder):
    """Returns the path of the newest whole version in a folder, or None.

    Args:
        folder: Of versions, SavedModels whose names are whole numbers.
    """
    versions = [
        path.parent
        for path in folder.glob("*/saved_model.pb")
        if path.parent.name.isdecimal()
    ]
    return max(versions, key=lambda path: int(path.name), default=None)


def read_metadata(path):
    """Returns the metadata of a SavedModel, empty if it has none."""
    with contextlib.suppress(OSError, ValueError):
        return json.loads((path / _METADATA).read_text())
    return {}


def _constants(values):
    """Returns a function without arguments to the values as tensors."""
    dtypes = {"class_names": tf.string, "step": tf.int64}

    def constants():
        return {
            name: tf.constant(value, dtypes.get(name, tf.int32))
            for name, value in values.items()
        }

    return tf.function(constants, input_signature=[])
