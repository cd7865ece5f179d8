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


def test_samples_are_of_all_classes_in_turn_or_of_one():
    generator, _ = small.build("acgan_resnet", SHAPE, 4, 1.0, num_classes=10)
    # Batch norm that tells classes apart.
    beta = generator.get_layer("bn").beta
    beta.assign(np.random.default_rng(0).normal(size=beta.shape))
    sampler = sampler_lib.Sampler(generator, 10)
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
