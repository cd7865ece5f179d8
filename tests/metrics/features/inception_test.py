import os
import shutil

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_hub

from sngan_tf import files
from sngan_tf.errors import UserError
from sngan_tf.metrics import features
from sngan_tf.metrics.features import inception

SIZE = 299
WIDTH = 5
CLASSES = 4
URL = "https://tfhub.dev/tensorflow/tfgan/eval/inception/1"


class Module(tf.Module):
    """The interface of tensorflow-gan's Inception, on a corner and means."""

    def __init__(self, seed=0, spatial=False, left_out=()):
        super().__init__()
        self.kernel, self.last = (
            tf.Variable(value, trainable=False) for value in weights(seed)
        )
        self._spatial = spatial
        self._left_out = left_out

    @tf.function(
        input_signature=[tf.TensorSpec((None, SIZE, SIZE, 3), tf.float32)]
    )
    def __call__(self, images):
        pooled = tf.reduce_mean(images, axis=(1, 2)), images[:, 3, 11]
        found = tf.concat(pooled, axis=1) @ self.kernel
        logits = found @ self.last
        if self._spatial:
            found = found[:, tf.newaxis, tf.newaxis]
        outputs = {"pool_3": found, "logits": logits, "Mixed_7c": images}
        return {
            name: value
            for name, value in outputs.items()
            if name not in self._left_out
        }


def weights(seed):
    rng = np.random.default_rng(seed)
    shapes = (6, WIDTH), (WIDTH, CLASSES)
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


def write(folder, **arguments):
    tf.saved_model.save(Module(**arguments), str(folder))
    return folder


def pictures(count, side=8, channels=3):
    shape = count, side, side, channels
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def bilinear(images, size):
    """The resize of TensorFlow 1: no half-pixel centres, no antialiasing."""

    def places(length):
        place = np.arange(size, dtype=np.float32)
        place *= np.float32(length) / np.float32(size)
        low = place.astype(int)
        return low, np.minimum(low + 1, length - 1), place - low

    low, high, share = places(images.shape[1])
    share = share[:, np.newaxis, np.newaxis]
    rows = images[:, low] * (1 - share) + images[:, high] * share
    low, high, share = places(images.shape[2])
    share = share[:, np.newaxis]
    return rows[:, :, low] * (1 - share) + rows[:, :, high] * share


def expected_outputs(images, seed=0):
    x = bilinear(images / 128 - 1, SIZE)
    kernel, last = weights(seed)
    found = np.concatenate([x.mean(axis=(1, 2)), x[:, 3, 11]], axis=1) @ kernel
    return found, found @ last


def message(location=""):
    """Returns the message of the UserError, and that it is of one line."""
    with pytest.raises(UserError) as raised:
        features.load_inception(str(location))
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return write(tmp_path_factory.mktemp("inception"))


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch, tmp_path):
    """An empty cache, and no TF-Hub variable but for what the test sets."""
    monkeypatch.setenv("SNGAN_TF_CACHE", str(tmp_path / "cache"))
    # Set first, so that it is taken away again after the test.
    monkeypatch.setenv("TFHUB_CACHE_DIR", "")
    monkeypatch.delenv("TFHUB_CACHE_DIR")


@pytest.fixture
def resolved(monkeypatch, saved):
    """Makes TF-Hub resolve all URLs to `saved`; returns the list of them."""
    calls = []

    def resolve(location):
        calls.append((location, os.environ["TFHUB_CACHE_DIR"]))
        return str(saved)

    monkeypatch.setattr(tensorflow_hub, "resolve", resolve)
    return calls


@pytest.fixture
def unreachable(monkeypatch):
    def resolve(location):
        raise OSError("no route to host\nwith a second line")

    monkeypatch.setattr(tensorflow_hub, "resolve", resolve)


@pytest.mark.slow
def test_features_and_logits_match_numpy(saved):
    network = features.load_inception(str(saved))
    images = pictures(66)
    for found, expected in zip(network(images), expected_outputs(images)):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def test_features_may_have_two_axes_of_length_1(tmp_path):
    network = features.load_inception(str(write(tmp_path, spatial=True)))
    images = pictures(3)
    found, logits = network(images)
    expected = expected_outputs(images)
    np.testing.assert_allclose(found, expected[0], rtol=0, atol=1e-4)
    np.testing.assert_allclose(logits, expected[1], rtol=0, atol=1e-4)


def test_gray_pictures_get_three_equal_channels(saved):
    network = features.load_inception(str(saved))
    images = pictures(3, channels=1)
    colour = np.repeat(images, 3, axis=-1)
    for found, expected in zip(network(images), expected_outputs(colour)):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    np.testing.assert_array_equal(
        inception.preprocess(images), inception.preprocess(colour)
    )


def test_network_says_what_it_is_and_does(saved):
    network = features.load_inception(str(saved))
    assert network.kind == "inception"
    assert network.resize == "TF1 bilinear to 299"
    assert network.accuracy is None


def test_name_is_that_of_the_files_wherever_they_are(saved, tmp_path):
    copy = shutil.copytree(saved, tmp_path / "copy")
    name = features.load_inception(str(saved)).name
    assert name.startswith("inception-")
    assert len(name) == len("inception-") + 12
    assert features.load_inception(str(copy)).name == name


def test_name_changes_with_the_weights_alone(saved, tmp_path):
    other = shutil.copytree(saved, tmp_path / "other")
    module = write(tmp_path / "seed 1", seed=1)
    shutil.rmtree(other / "variables")
    shutil.copytree(module / "variables", other / "variables")
    assert (other / "saved_model.pb").read_bytes() == (
        saved / "saved_model.pb"
    ).read_bytes()
    found = features.load_inception(str(other))
    assert found.name != features.load_inception(str(saved)).name
    images = pictures(2)
    np.testing.assert_allclose(
        found(images)[0], expected_outputs(images, seed=1)[0], atol=1e-4
    )


def test_folder_in_the_cache_is_the_default(saved, resolved):
    shutil.copytree(saved, files.cache_directory() / "inception")
    found = features.load_inception()
    assert found.name == features.load_inception(str(saved)).name
    assert resolved == []


def test_location_wins_over_the_cache(saved, tmp_path):
    shutil.copytree(saved, files.cache_directory() / "inception")
    write(tmp_path / "other", seed=1)
    default = features.load_inception()
    other = features.load_inception(str(tmp_path / "other"))
    assert other.name != default.name


def test_location_may_start_at_home(saved, monkeypatch):
    monkeypatch.setenv("HOME", str(saved.parent))
    found = features.load_inception(f"~/{saved.name}")
    assert found.name == features.load_inception(str(saved)).name


def test_url_of_tensorflow_gan_is_fetched_into_the_cache(saved, resolved):
    found = features.load_inception()
    assert resolved == [(URL, str(files.cache_directory() / "tfhub"))]
    assert found.name == features.load_inception(str(saved)).name


def test_another_url_wins_over_the_cache(saved, resolved):
    shutil.copytree(saved, files.cache_directory() / "inception")
    features.load_inception("https://example.com/inception")
    ((location, _),) = resolved
    assert location == "https://example.com/inception"


def test_cache_of_tf_hub_is_where_its_variable_says(resolved, monkeypatch):
    monkeypatch.setenv("TFHUB_CACHE_DIR", "elsewhere")
    features.load_inception()
    assert resolved == [(URL, "elsewhere")]


def test_url_out_of_reach_is_an_error_that_says_what_to_do(unreachable):
    received = message()
    assert f"can't be fetched from {URL} (no route to host)" in received
    assert (
        f"unpack {URL}?tf-hub-format=compressed to "
        f"{files.cache_directory() / 'inception'}, "
    ) in received
    assert "--config.evaluation.inception" in received
    assert "--config.evaluation.features=classifier" in received


def test_another_url_out_of_reach_is_named(unreachable):
    received = message("https://example.com/inception")
    assert "can't be fetched from https://example.com/inception (" in received
    assert f"unpack {URL}?tf-hub-format=compressed" in received


def test_a_folder_that_is_missing_is_an_error(tmp_path):
    location = tmp_path / "missing"
    received = message(location)
    assert "must be the folder of a SavedModel or a URL" in received
    assert received.endswith(f"Received: evaluation.inception={location}")


def test_a_folder_without_a_saved_model_is_an_error(tmp_path):
    (tmp_path / "variables").mkdir()
    assert message(tmp_path).endswith(f"evaluation.inception={tmp_path}")


def test_a_folder_in_the_cache_without_a_saved_model_is_an_error(unreachable):
    folder = files.cache_directory() / "inception"
    folder.mkdir(parents=True)
    assert str(folder) in message()


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: b"no protocol buffer",
        lambda content: content[: len(content) // 2],
    ],
    ids=["empty", "text", "truncated"],
)
def test_a_damaged_graph_is_an_error(saved, tmp_path, damage):
    folder = shutil.copytree(saved, tmp_path / "damaged")
    path = folder / "saved_model.pb"
    path.write_bytes(damage(path.read_bytes()))
    assert str(folder) in message(folder)


def test_missing_weights_are_an_error(saved, tmp_path):
    folder = shutil.copytree(saved, tmp_path / "damaged")
    shutil.rmtree(folder / "variables")
    assert message(folder).startswith(f"{folder} can't be loaded as a Saved")


@pytest.mark.parametrize("name", ["pool_3", "logits"])
def test_another_saved_model_is_an_error(tmp_path, name):
    write(tmp_path, left_out=[name])
    received = message(tmp_path)
    assert received.startswith(f"{tmp_path} must hold a SavedModel that takes")
    assert "returns pool_3 and logits" in received
    assert name in received.split("Received: ")[1]


def test_a_saved_model_for_another_size_is_an_error(tmp_path):
    class Small(tf.Module):
        @tf.function(
            input_signature=[tf.TensorSpec((None, 8, 8, 3), tf.float32)]
        )
        def __call__(self, images):
            return {"pool_3": images[:, 0, 0], "logits": images[:, 0, 0]}

    tf.saved_model.save(Small(), str(tmp_path))
    assert "float32 (batch, 299, 299, 3)" in message(tmp_path)


@pytest.mark.parametrize("side", [8, 32, 64, 298, 400])
@pytest.mark.parametrize("channels", [1, 3])
def test_preprocess_resizes_as_tensorflow_1_did(side, channels):
    images = pictures(2, side, channels)
    found = inception.preprocess(images).numpy()
    assert found.shape == (2, SIZE, SIZE, 3)
    assert found.dtype == np.float32
    assert -1 <= found.min() < -0.9
    assert 0.9 < found.max() < 1
    expected = bilinear(images / 128 - 1, SIZE)
    np.testing.assert_allclose(
        found, np.broadcast_to(expected, found.shape), rtol=0, atol=1e-5
    )


def test_preprocess_of_299_pixels_is_exact():
    images = np.arange(SIZE * SIZE * 3) % 256
    images = images.reshape(1, SIZE, SIZE, 3)
    np.testing.assert_array_equal(
        inception.preprocess(images.astype(np.uint8)), images / 128 - 1
    )
