import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import sngan_tf
from sngan_tf.layers import spectral_norms
from sngan_tf.networks import pretrained

SHAPES = {"digits": (16, 16, 1), "cifar10": (32, 32, 3)}
# What one who has not installed sngan_tf does.
ON_KERAS_ALONE = """
import sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "sngan_tf":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NotInstalled())
import keras
import numpy as np
for folder in sys.argv[1:]:
    images = keras.models.load_model(f"{folder}/generator.keras")(
        np.load("latents.npy"), training=False
    )
    logits = keras.models.load_model(f"{folder}/discriminator.keras")(images)
    name = folder.rpartition("/")[2]
    np.savez(f"{name}.npz", images=np.array(images), logits=np.array(logits))
"""


@pytest.fixture(scope="module", params=pretrained.names())
def name(request):
    return request.param


@pytest.fixture(scope="module")
def networks(name):
    return sngan_tf.pretrained(name)


def latents(count=16):
    return np.random.default_rng(0).normal(size=(count, 128)).astype("float32")


def test_there_are_those_that_the_docs_name():
    assert {*pretrained.names()} == SHAPES.keys()


def test_pictures_and_logits_are_of_their_shapes(name, networks):
    generator, discriminator = networks
    images = np.array(generator(latents(), training=False))
    assert images.shape == (16, *SHAPES[name])
    assert -1 <= images.min() < -0.5 < 0.5 < images.max() <= 1
    assert discriminator(images, training=False).shape == (16, 1)


def test_pictures_of_other_latents_are_others(networks):
    """And none is of one level: the generator has not collapsed."""
    images = np.array(networks[0](latents(), training=False)).reshape(16, -1)
    differences = np.abs(images[:, None] - images).mean(axis=-1)
    assert differences[~np.eye(16, dtype=bool)].min() > 0.05
    assert images.std(axis=1).min() > 0.1


def test_normalization_is_folded_in(networks):
    """Sigma by `u` is at most the norm, and little less while it moves."""
    norms = np.array([*spectral_norms(networks[1]).values()])
    assert norms.shape == (8,)
    assert 0.999 < norms.min() < norms.max() < 1.1


def test_both_train_on(networks):
    """An average is not trainable where it is made."""
    for network in networks:
        kernels = [w for w in network.weights if w.path.endswith("kernel")]
        assert all(kernel.trainable for kernel in kernels)
        assert len(network.trainable_weights) >= len(kernels) > 0


def test_files_are_small_and_have_a_card(name):
    folder = pretrained.FOLDER / name
    assert {path.name for path in folder.iterdir()} == {
        "README.md",
        "discriminator.keras",
        "generator.keras",
    }
    assert all(path.stat().st_size < 2e6 for path in folder.iterdir())


@pytest.mark.slow
def test_all_load_without_this_package(tmp_path):
    np.save(tmp_path / "latents.npy", latents())
    folders = [str(pretrained.FOLDER / name) for name in pretrained.names()]
    subprocess.run(
        [sys.executable, "-c", ON_KERAS_ALONE, *folders],
        cwd=tmp_path,
        env={**os.environ, "KERAS_BACKEND": keras.backend.backend()},
        check=True,
    )
    for name in pretrained.names():
        generator, discriminator = sngan_tf.pretrained(name)
        images = generator(latents(), training=False)
        logits = discriminator(images, training=False)
        with np.load(tmp_path / f"{name}.npz") as found:
            np.testing.assert_allclose(found["images"], images, atol=1e-5)
            np.testing.assert_allclose(found["logits"], logits, atol=1e-3)


def test_unknown_name_is_refused_with_those_that_there_are():
    message = "`name` must be one of .*digits.*Received: name=imagenet$"
    with pytest.raises(ValueError, match=message):
        sngan_tf.pretrained("imagenet")


def test_folder_that_is_being_made_is_none(tmp_path, monkeypatch):
    for folder in ("b", "a", ".c.tmp", "empty"):
        (tmp_path / folder).mkdir()
        if folder != "empty":
            (tmp_path / folder / "generator.keras").touch()
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    assert pretrained.names() == ["a", "b"]
