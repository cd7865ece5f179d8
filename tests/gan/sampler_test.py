import keras
import numpy as np
import pytest
import small
import tensorflow as tf

from sngan_tf import images as images_lib
from sngan_tf.gan import sampler as sampler_lib

SHAPE = (8, 8, 1)


@pytest.fixture
def sampler():
    generator, _ = small.build("cnn", SHAPE, 4, 1.0)
    # Of larger kernels, so that the pictures differ.
    random = np.random.default_rng(3)
    for weight in generator.weights:
        if len(weight.shape) > 1:
            weight.assign(random.normal(size=weight.shape))
    return sampler_lib.Sampler(generator)


def test_samples_are_a_function_of_the_seed(sampler):
    np.testing.assert_array_equal(sampler.many(1, 6)[:4], sampler.many(1, 4))
    assert not np.array_equal(sampler.many(1, 4), sampler.many(2, 4))
    assert sampler.labels(4) is None


def test_batches_are_the_parts_of_all_pictures(sampler, monkeypatch):
    whole = sampler.many(1, 10)
    assert whole.shape == (10, *SHAPE)
    monkeypatch.setattr(sampler_lib, "_BATCH_SIZE", 4)
    parts = [*sampler.batches(1, 10)]
    assert [len(part) for part in parts] == [4, 4, 2]
    np.testing.assert_allclose(
        np.concatenate(parts).astype(int), whole.astype(int), atol=1
    )


def test_batches_of_larger_pictures_are_smaller(monkeypatch):
    latents = keras.Input((1,))
    x = keras.layers.UpSampling2D(64)(keras.layers.Reshape((1, 1, 1))(latents))
    sampler = sampler_lib.Sampler(keras.Model(latents, x))
    monkeypatch.setattr(sampler_lib, "_BATCH_SIZE", 12)
    parts = [*sampler.batches(1, 10)]
    assert [len(part) for part in parts] == [3, 3, 3, 1]
    # Each is of its own latent, which all its pixels are.
    expected = sampler._inputs(1, 10)[0][:, 0] > 0
    np.testing.assert_array_equal(
        np.concatenate(parts)[:, 5, 7, 0] >= 128, expected
    )


@pytest.fixture
def conditional():
    generator, _ = small.build("acgan_resnet", SHAPE, 4, 1.0, num_classes=10)
    # Batch norm that tells classes apart.
    beta = generator.get_layer("bn").beta
    beta.assign(np.random.default_rng(0).normal(size=beta.shape))
    return sampler_lib.Sampler(generator, 10)


def test_samples_are_of_all_classes_in_turn_or_of_one(conditional):
    sampler, generator = conditional, conditional.generator
    in_turn = sampler.many(3, 12)
    labels = sampler.labels(12)
    assert labels.dtype == np.int32
    assert labels.tolist() == [*range(10), 0, 1]
    latents = sampler._inputs(3, 12)[0]
    of_class = {
        label: images_lib.to_uint8(
            generator([latents, tf.fill((12,), label)], training=False)
        ).numpy()
        for label in range(10)
    }
    for i, image in enumerate(in_turn):
        np.testing.assert_allclose(
            image.astype(int), of_class[i % 10][i].astype(int), atol=1
        )
    sevens = sampler.many(3, 12, label=7)
    np.testing.assert_allclose(
        sevens.astype(int), of_class[7].astype(int), atol=1
    )
    assert np.abs(sevens.astype(int) - in_turn.astype(int)).max() > 1
    for label, expected in ((7, sevens), (-1, in_turn)):
        np.testing.assert_array_equal(
            sampler.sample_class(3, 12, label)["images"], expected
        )


def test_nothing_asked_for_is_an_empty_answer(sampler, conditional):
    for empty in (
        sampler.images(tf.zeros((0, 4)))["images"],
        sampler.sample(3, 0)["images"],
        sampler.many(3, 0),
        conditional.images(tf.zeros((0, 4)), tf.zeros((0,), tf.int32))[
            "images"
        ],
        conditional.many(3, 0, 7),
    ):
        assert empty.shape == (0, *SHAPE)
        assert empty.dtype == "uint8"


def test_one_label_is_that_of_all_latents(conditional):
    latents = tf.random.normal((3, 4))
    one = conditional.images(latents, tf.constant([7]))["images"]
    each = conditional.images(latents, tf.constant([7, 7, 7]))["images"]
    np.testing.assert_array_equal(one, each)


@pytest.mark.parametrize(
    ("labels", "received"),
    [
        ([-1, 0, 3], r"\[3\] \[labels from\] \[-1\] \[to\] \[3\]"),
        ([0, 10, 3], r"\[3\] \[labels from\] \[0\] \[to\] \[10\]"),
        ([10], r"\[1\] \[labels from\] \[10\] \[to\] \[10\]"),
        ([1, 2], r"\[2\] \[labels from\] \[1\] \[to\] \[2\]"),
        ([], r"\[0\] \[labels from\]"),
    ],
)
def test_labels_that_do_not_fit_are_refused(conditional, labels, received):
    message = (
        r"`labels` must be in \[0, 10\), one for each of the latents or one "
        rf"for all. Received:\] \[3\] \[latents,\] {received}"
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        conditional.images(tf.zeros((3, 4)), tf.constant(labels, tf.int32))


def test_labels_and_counts_that_are_none_are_refused(sampler, conditional):
    with pytest.raises(tf.errors.InvalidArgumentError, match="0 or more.*-1"):
        sampler.sample(3, -1)
    with pytest.raises(tf.errors.InvalidArgumentError, match="from. .-2. .to"):
        conditional.sample_class(3, 1, -2)
    for part, label, end in ((sampler, 0, 0), (conditional, 10, 10)):
        message = rf"`label` must be in \[-1, {end}\). Received: label={label}"
        with pytest.raises(ValueError, match=message):
            part.many(3, 1, label)


def test_compiled_by_xla_is_the_same(conditional):
    compiled = tf.function(
        lambda *inputs: conditional.images(*inputs)["images"], jit_compile=True
    )
    inputs = tf.random.normal((3, 4)), tf.constant([7])
    np.testing.assert_allclose(
        compiled(*inputs).numpy().astype(int),
        conditional.images(*inputs)["images"].numpy().astype(int),
        atol=1,
    )


def test_grid_is_enlarged_and_its_first_row_read_again(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), "uint8")
    grid = sampler_lib.save_grid(tmp_path / "grid.png", images)
    np.testing.assert_array_equal(
        images_lib.read_png(tmp_path / "grid.png"), grid
    )
    # Three in a row, each of 32 pixels and a gap of 2.
    assert grid.shape == (2 * 34, 3 * 34, 1)
    np.testing.assert_array_equal(grid[1:32:4, 1:32:4], images[0])
    first = sampler_lib.first_row(tmp_path / "grid.png", 8)
    np.testing.assert_array_equal(first, grid[:34])
