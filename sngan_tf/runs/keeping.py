"""Generators of runs as plain Keras files, each with its model card."""

import json
import zipfile

from keras import ops

from sngan_tf import files
from sngan_tf.errors import UserError
from sngan_tf.errors import writing
from sngan_tf.layers import fold
from sngan_tf.runs import card
from sngan_tf.runs import loading
from sngan_tf.runs import workdir as workdir_lib

_USAGE = """\
On Keras alone, with any backend:

```python
import keras

generator = keras.models.load_model("generator.keras")
latents = keras.random.normal((16, {latent_dim}))
images = generator(latents, training=False)  # {shape}, in [-1, 1]
levels = keras.ops.floor((images + 1) * 128)
pixels = keras.ops.cast(keras.ops.clip(levels, 0, 255), "uint8")
discriminator = keras.models.load_model("discriminator.keras")
logits = discriminator(images, training=False)
```

Spectral or other normalization is folded into the discriminator's kernels."""

# Arguments that Keras 3.13 lacks in a layer or an initializer, with the values
# that do nothing: it refuses a file that names one.
_NEWER = {
    "renorm": False,
    "renorm_clipping": None,
    "renorm_momentum": 0.99,
    "input_axes": None,
    "output_axes": None,
}


def networks(gan):
    """Returns the networks of a `GAN` that are worth keeping, by their roles.

    The `generator` is the averaged one if there is one, the `discriminator`
    folded.
    """
    generator = gan.sampling_generator
    generator.trainable = True  # An average isn't, while it is made.
    return {
        "generator": generator,
        "discriminator": fold(gan.discriminator),
    }


def loads_alone(network):
    """Returns whether a saved network loads where sngan_tf isn't installed."""
    return "sngan_tf" not in network.to_json()


def open_to_older_keras(path):
    """Lets Keras from 3.13 on read a `.keras` file; nothing else changes."""

    def older(config):
        if isinstance(config, list):
            return [older(item) for item in config]
        if not isinstance(config, dict):
            return config
        return {
            key: older(value)
            for key, value in config.items()
            if key not in _NEWER or value != _NEWER[key]
        }

    with zipfile.ZipFile(path) as saved:
        contents = {info: saved.read(info) for info in saved.infolist()}
    with zipfile.ZipFile(path, "w") as mended:
        for info, content in contents.items():
            if info.filename == "config.json":
                content = json.dumps(older(json.loads(content)))
            mended.writestr(info, content)


def keep(workdir, folder, checkpoint="best", data="", note=""):
    """Writes a run's networks and their card, whole or not at all.

    In the folder are `generator.keras`, averaged if the run averages,
    `discriminator.keras`, folded, and `README.md`.

    Args:
        workdir: The run's folder, which is only read.
        folder: Where to write; what was there before is replaced.
        checkpoint: `"best"` or `"last"`.
        data: As of `card.text`.
        note: As of `card.text`.

    Raises:
        UserError: If there is no such run, its networks don't load without
            sngan_tf, or the disk refuses.
    """
    run = workdir_lib.Workdir(workdir)
    gan = loading.load_run(workdir, checkpoint)
    kept = networks(gan)
    for role, network in kept.items():
        if not loads_alone(network):
            raise UserError(
                f"The {role} must be of Keras's own layers, regularizers and "
                f"constraints to be kept. Received: the run in {workdir}"
            )
    usage = _USAGE.format(
        latent_dim=gan.sampler.latent_dim,
        shape=(16, *gan.sampler.image_shape),
    )
    step = int(ops.convert_to_numpy(gan.step))
    about = card.text(run, checkpoint, step, usage, data, note)
    with writing(folder), files.replacing_folder(folder) as temporary:
        for role, network in kept.items():
            network.save(temporary / f"{role}.keras")
            open_to_older_keras(temporary / f"{role}.keras")
        files.write_text(temporary / "README.md", about)
