"""Saved models load in a new process that has imported sngan_tf alone."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import small
from keras import layers

from sngan_tf.gan import GAN
from sngan_tf.gan import penalties
from sngan_tf.gan import schedules
from sngan_tf.layers import ConditionalBatchNormalization
from sngan_tf.layers import FrobeniusNormalization
from sngan_tf.layers import SpectralNormalization
from sngan_tf.layers import SpectralRegularization
from sngan_tf.layers import WeightNormalization

SCRIPT = """
{imports}
import numpy as np
model = keras.models.load_model("model.keras")
inputs = np.load("inputs.npz")
np.save("outputs.npy", model([inputs["x"], inputs["labels"]]))
gan = keras.models.load_model("gan.keras")
assert type(gan).__module__ == "sngan_tf.gan.model"
gan.generator_optimizer.iterations.assign(5)
assert float(gan.generator_optimizer.learning_rate) == 2.0**-11
np.save("images.npy", gan(inputs["latents"]))
"""


def every_layer():
    x = inputs = keras.Input((6,))
    labels = keras.Input((), dtype="int32")
    for wrapper in (
        SpectralNormalization,
        SpectralRegularization,
        WeightNormalization,
        FrobeniusNormalization,
    ):
        x = wrapper(layers.Dense(5))(x)
    x = ConditionalBatchNormalization(3)(x, labels)
    x = layers.Dense(
        4,
        kernel_regularizer=penalties.Orthonormal(0.1),
        kernel_constraint=penalties.WeightClipping(1.0),
    )(x)
    return keras.Model([inputs, labels], x)


def gan():
    model = GAN(*small.build("cnn", (8, 8, 1), latent_dim=4, width=1.0))
    schedule = schedules.LinearDecay(2.0**-10, 1, 9)
    model.compile(
        generator_optimizer=keras.optimizers.Adam(schedule),
        discriminator_optimizer=keras.optimizers.Adam(schedule),
    )
    return model


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder of models and inputs, and what they should give."""
    folder = tmp_path_factory.mktemp("saved")
    random = np.random.default_rng(0)
    inputs = {
        "x": random.normal(size=(7, 6)).astype("float32"),
        "labels": random.integers(0, 3, 7).astype("int32"),
        "latents": random.normal(size=(7, 4)).astype("float32"),
    }
    np.savez(folder / "inputs.npz", **inputs)
    models = every_layer(), gan()
    for model, name in zip(models, ("model", "gan")):
        model.save(folder / f"{name}.keras")
    outputs = models[0]([inputs["x"], inputs["labels"]])
    return folder, np.array(outputs), np.array(models[1](inputs["latents"]))


@pytest.mark.slow
@pytest.mark.parametrize(
    "imports",
    [
        # Others look for Keras before they import it.
        "import importlib.util, sngan_tf\n"
        "assert importlib.util.find_spec('keras')\n"
        "import keras",
        "import keras, sngan_tf",
    ],
    ids=["before_keras", "after_keras"],
)
def test_import_of_the_package_is_enough(saved, imports):
    folder, outputs, images = saved
    subprocess.run(
        [sys.executable, "-c", SCRIPT.format(imports=imports)],
        check=True,
        cwd=folder,
    )
    np.testing.assert_allclose(
        np.load(folder / "outputs.npy"), outputs, rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        np.load(folder / "images.npy"), images, rtol=1e-5, atol=1e-6
    )
