"""GANs as SavedModels that load with TensorFlow alone, and their versions."""

import contextlib
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from sngan_tf import files
from sngan_tf import images as images_lib
from sngan_tf import types
from sngan_tf.gan import passes
from sngan_tf.gan import sampler as sampler_lib

# Where SavedModels have what others than TensorFlow add.
_METADATA = "assets.extra/metadata.json"


def save(
    sampler: sampler_lib.Sampler,
    path: types.Path,
    class_names: Sequence[str] = (),
    step: int = 0,
    verbose: bool = False,
) -> None:
    """Writes a SavedModel, in the place of an older one at once or not at all.

    Its signatures return `images`, uint8 `(batch, height, width, channels)`:

    - `serving_default` of `latents` float32 `(batch, latent_dim)`, and
      `labels` int32, `(batch,)`, or `(1,)` for all, if conditional;
    - `sample` of `seed` and `count`, int32 scalars, all classes in turn;
    - `sample_class`, if conditional, of a `label` beside these, -1 for all
      classes in turn.

    `metadata` takes nothing and returns `class_names` string `(num_classes,)`,
    `num_classes`, `step`, `latent_dim` and `image_shape`. The same is in
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
        "num_classes": sampler.num_classes or 0,
        "class_names": [*class_names],
    }
    archive = keras.export.ExportArchive()
    archive.track(sampler.generator)
    archive.add_endpoint("serving_default", sampler.images)
    archive.add_endpoint("sample", sampler.sample)
    if sampler.num_classes:
        archive.add_endpoint("sample_class", sampler.sample_class)
    archive.add_endpoint("metadata", _constants(metadata))
    _write(archive, path, metadata, verbose)


def save_discriminator(
    discriminator: keras.Model,
    path: types.Path,
    step: int = 0,
    verbose: bool = False,
) -> None:
    """Writes a SavedModel, in the place of an older one at once or not at all.

    Its `serving_default` takes `images`, uint8 `(batch, height, width,
    channels)`, and `labels` int32 `(batch,)` if conditional, and returns
    `logits`, float32 `(batch, 1)`, of inference. The step is in the file
    `assets.extra/metadata.json`.

    Args:
        discriminator: Built Keras model, images in [-1, 1], and labels if
            conditional, to logits; what an auxiliary classifier says is left
            out.
        path: The folder.
        step: Generator updates that it was trained for.
        verbose: Whether to print what is saved.
    """
    shapes = passes.signature(discriminator, "discriminator").inputs
    signature = [tf.TensorSpec((None, *shapes[0]), tf.uint8, "images")]
    if len(shapes) == 2:
        signature.append(tf.TensorSpec((None,), tf.int32, "labels"))

    def logits(images, *labels):
        images = images_lib.to_float(images)
        inputs = [images, *labels] if labels else images
        outputs = keras.tree.flatten(discriminator(inputs, training=False))
        return {"logits": tf.cast(outputs[0], tf.float32)}

    archive = keras.export.ExportArchive()
    archive.track(discriminator)
    archive.add_endpoint("serving_default", logits, signature)
    _write(archive, path, {"step": step}, verbose)


def _write(archive, path, metadata, verbose):
    with files.replacing_folder(path) as temporary:
        archive.write_out(str(temporary), verbose=verbose)
        text = json.dumps(metadata, indent=2) + "\n"
        files.write_text(temporary / _METADATA, text)


def versions(folder: types.Path) -> list[pathlib.Path]:
    """Returns the paths of the whole versions in a folder, newest last.

    A version is a SavedModel whose name is a positive number, as TensorFlow
    Serving has them; what is being written has another name until it is whole.

    Args:
        folder: Such as `export/generator` of a run; it need not be there.
    """
    found = pathlib.Path(folder).glob("[1-9]*/saved_model.pb")
    paths = (path.parent for path in found)
    return sorted(
        (path for path in paths if path.name.isdecimal()),
        key=lambda path: int(path.name),
    )


def newest(folder: types.Path) -> pathlib.Path | None:
    """Returns the path of the newest whole version, None if there is none."""
    return next(reversed(versions(folder)), None)


def read_metadata(path: pathlib.Path) -> dict[str, Any]:
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
