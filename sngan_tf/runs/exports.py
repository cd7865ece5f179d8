"""The folder `export/` of a run: versions of SavedModels, and files beside."""

import contextlib
import functools
import os
import shutil

import keras

from sngan_tf import files
from sngan_tf.gan import serving
from sngan_tf.runs import card
from sngan_tf.runs import formats
from sngan_tf.runs import keeping

_USAGE = """\
`generator/{version}` is a SavedModel, which loads with TensorFlow alone:

```python
import tensorflow as tf

model = tf.saved_model.load("generator/{version}")
sample = model.signatures["sample"]
images = sample(seed=tf.constant(0), count=tf.constant(16))["images"]  # uint8
```

Its `serving_default` takes {latents}, and that of `discriminator/{version}` \
{images} to `logits` float32 `(batch, 1)`. The same networks as Keras models, \
which take and make images in [-1, 1]:

```python
{imports}

generator = keras.models.load_model("generator.keras")
discriminator = keras.models.load_model("discriminator.keras")
```

Spectral or other normalization is folded into the discriminator's kernels."""
_NEEDED = "import sngan_tf  # Has layers or regularizers of theirs."


def write(gan, workdir, checkpoint, keep, names=()):
    """Writes a new version of both networks, whole or not at all.

    In `export/` are `generator/VERSION` and `discriminator/VERSION`, the
    SavedModels of `serving.save` and `serving.save_discriminator`, and of the
    newest version `generator.keras`, `discriminator.keras`, the model card
    `README.md` and other formats of the generator. All is written beside, under
    names that are no version's, and renamed at the end, the generator's version
    last. A SavedModel in `export/generator` itself, from before there were
    versions, becomes version 1.

    Args:
        gan: `GAN`, as a checkpoint has it.
        workdir: `workdir.Workdir` of its run.
        checkpoint: `"last"` or `"best"`, which that is.
        keep: How many versions to keep.
        names: Of `formats.FORMATS`. A file of another one, of an older version
            then, is deleted.

    Returns:
        The path of the generator's new version.

    Raises:
        UserError: If `names` need what is not installed.
    """
    folder = workdir.exports
    of_roles = workdir.generator, workdir.discriminator
    with files.one_writer(folder):
        files.forget_left(folder)
        _number(workdir.generator)
        version = str(1 + max(map(_newest_number, of_roles)))
        _place(_writers(gan, workdir, checkpoint, version, names))
        for name in formats.FORMATS.keys() - {*names}:
            _path(folder, name).unlink(missing_ok=True)
        for of_role in of_roles:
            _forget(of_role, keep)
    return workdir.generator / version


def _writers(gan, workdir, checkpoint, version, names):
    """Returns what `_place` is to write."""
    folder = workdir.exports
    networks = keeping.networks(gan)
    step = int(keras.ops.convert_to_numpy(gan.step))
    usage = _usage(gan, networks, version, names)
    about = card.text(workdir, checkpoint, step, usage)
    discriminator = networks["discriminator"]
    writers = {
        workdir.generator / version: gan.export,
        workdir.discriminator / version: lambda path: (
            serving.save_discriminator(discriminator, path, step)
        ),
        folder / "README.md": lambda path: path.write_text(about),
    }
    for role, network in networks.items():
        writers[folder / f"{role}.keras"] = network.save
    for name in names:
        save = formats.FORMATS[name].save
        writers[_path(folder, name)] = functools.partial(save, gan.sampler)
    return writers


def _number(folder):
    """Makes a SavedModel from before there were versions the first one."""
    if (folder / "saved_model.pb").exists():
        with files.replacing_folder(folder) as temporary:
            shutil.copytree(folder, temporary / "1")


def _newest_number(folder):
    newest = serving.newest(folder)
    return int(newest.name) if newest else 0


def _path(folder, name):
    return folder / f"generator{formats.FORMATS[name].suffix}"


def _place(writers):
    """Puts files and folders in their places once all of them are written.

    Args:
        writers: `{path: function that writes to another path}`. The first is
            put in its place last.
    """
    with contextlib.ExitStack() as stack:
        for path, write in writers.items():
            is_file = path.suffix
            replacing = files.replacing if is_file else files.replacing_folder
            write(stack.enter_context(replacing(path)))


def _forget(folder, keep):
    """Deletes versions but for the newest, each under a name that is none."""
    for path in serving.versions(folder)[:-keep]:
        os.replace(path, path.with_name(f".{path.name}.old"))
    for path in folder.glob(".*.old"):
        shutil.rmtree(path, ignore_errors=True)


def _usage(gan, networks, version, names):
    """Returns how what is exported is loaded, Markdown."""
    height, width, channels = gan.sampler.image_shape
    latents = f"`latents` float32 `(batch, {gan.sampler.latent_dim})`"
    images = f"`images` uint8 `(batch, {height}, {width}, {channels})`"
    labels = " and `labels` int32 `(batch,)`"
    alone = all(map(keeping.loads_alone, networks.values()))
    usage = _USAGE.format(
        version=version,
        latents=latents + labels * bool(gan.num_classes),
        images=images + labels * (len(networks["discriminator"].inputs) == 2),
        imports="import keras" if alone else f"import keras\n{_NEEDED}",
    )
    return "\n\n".join([usage, *(formats.FORMATS[x].words for x in names)])
