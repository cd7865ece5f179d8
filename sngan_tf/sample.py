"""`--mode=sample`: pictures of a trained generator."""

import numpy as np
import tensorflow as tf

from sngan_tf import experiment
from sngan_tf import images as images_lib
from sngan_tf import noise

_BATCH_SIZE = 500
_ENLARGED_SIDE = 32
_GAP = 2


class Sampler(tf.Module):
    """The functions that training, evaluation and serving sample with.

    One graph for all of them, so that a served picture is the trained one.

    Args:
        generator: Keras model, latents `(batch, latent_dim)` to images in
            [-1, 1].
    """

    def __init__(self, generator):
        super().__init__()
        self.generator = generator
        self.latent_dim = generator.input_shape[-1]
        self.images = tf.function(
            self._images,
            input_signature=[
                tf.TensorSpec((None, self.latent_dim), tf.float32, "latents")
            ],
        )
        self.sample = tf.function(
            self._sample,
            input_signature=[
                tf.TensorSpec((), tf.int32, "seed"),
                tf.TensorSpec((), tf.int32, "count"),
            ],
        )

    def _images(self, latents):
        """`latents` to `{"images": uint8 (batch, height, width, channels)}`."""
        images = self.generator(latents, training=False)
        return {"images": images_lib.to_uint8(images)}

    def _sample(self, seed, count):
        """`count` pictures, a function of `seed` alone, as `_images`."""
        return self.images(self._latents(seed, count))

    def _latents(self, seed, count):
        return noise.normal((count, self.latent_dim), noise.fold_in(seed))

    def many(self, seed, count):
        """Returns what `sample` does as an array, made in parts."""
        latents = self._latents(seed, count)
        return np.concatenate(
            [
                self.images(latents[i : i + _BATCH_SIZE])["images"]
                for i in range(0, count, _BATCH_SIZE)
            ]
        )


def save_grid(path, images):
    """Writes pictures as a grid, small ones enlarged by a whole number.

    Args:
        path: The PNG to write.
        images: `(count, size, size, channels)`, uint8.

    Returns:
        The grid, uint8 `(height, width, channels)`.
    """
    factor = _enlargement(images.shape[1])
    enlarged = images.repeat(factor, axis=1).repeat(factor, axis=2)
    grid = images_lib.grid(enlarged, gap=_GAP)
    images_lib.save_png(path, grid)
    return grid


def first_row(path, image_size):
    """Returns the top row of a grid that `save_grid` has written."""
    height = image_size * _enlargement(image_size) + _GAP
    return images_lib.read_png(path)[:height]


def _enlargement(image_size):
    return max(1, _ENLARGED_SIDE // image_size)


def sample(config, workdir):
    """Writes `samples/seed_NNNNNNNN.png`, and the bare pictures as `.npy`.

    Returns:
        The path of the grid.
    """
    gan = experiment.restore_gan(config, workdir)
    images = Sampler(gan.sampling_generator).many(
        config.sampling.seed, config.sampling.count
    )
    path = workdir.samples / f"seed_{config.sampling.seed:08d}.png"
    save_grid(path, images)
    np.save(path.with_suffix(".npy"), images)
    return path
