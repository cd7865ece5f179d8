"""Pictures of a generator, as functions of a seed."""

import numpy as np
import tensorflow as tf

from sngan_tf import images as images_lib
from sngan_tf import noise

_BATCH_SIZE = 500  # Of 32 pixels; fewer of larger ones.
_ENLARGED_SIDE = 32
_GAP = 2


class Sampler(tf.Module):
    """The functions that training, evaluation and serving sample with.

    One graph for all of them, so that a served picture is the trained one.

    Args:
        generator: Keras model, latents `(batch, latent_dim)`, and labels
            `(batch,)` if conditional, to images in [-1, 1].
        num_classes: Number of classes of a conditional generator, else None.
    """

    def __init__(self, generator, num_classes=None):
        super().__init__()
        self.generator = generator
        self.num_classes = num_classes
        self.latent_dim = generator.inputs[0].shape[-1]
        inputs = [tf.TensorSpec((None, self.latent_dim), tf.float32, "latents")]
        if num_classes:
            inputs.append(tf.TensorSpec((None,), tf.int32, "labels"))
        self.images = tf.function(self._images, input_signature=inputs)
        self.sample = tf.function(
            self._sample,
            input_signature=[
                tf.TensorSpec((), tf.int32, "seed"),
                tf.TensorSpec((), tf.int32, "count"),
            ],
        )

    def _images(self, *inputs):
        """`latents, [labels]` to `{"images": uint8 (batch, height, ...)}`."""
        inputs = list(inputs) if self.num_classes else inputs[0]
        images = self.generator(inputs, training=False)
        return {"images": images_lib.to_uint8(images)}

    def _sample(self, seed, count):
        """`count` pictures, a function of `seed`, of all classes in turn."""
        return self.images(*self._inputs(seed, count))

    def _inputs(self, seed, count, label=-1):
        latents = noise.normal((count, self.latent_dim), noise.fold_in(seed))
        if not self.num_classes:
            return (latents,)
        if label < 0:
            return latents, tf.range(count) % self.num_classes
        return latents, tf.fill((count,), label)

    def batches(self, seed, count, label=-1):
        """Yields what `sample` does in parts, uint8 tensors.

        Args:
            seed: Integer that the pictures are a function of.
            count: How many in all.
            label: Class of all, of a conditional generator; -1 for all
                classes in turn.
        """
        inputs = self._inputs(seed, count, label)
        side = self.generator.output_shape[1]
        size = images_lib.batch_size(_BATCH_SIZE, side)
        for i in range(0, count, size):
            yield self.images(*(x[i : i + size] for x in inputs))["images"]

    def many(self, seed, count, label=-1):
        """Returns the pictures of `batches` as an array."""
        return np.concatenate([*self.batches(seed, count, label)])

    def labels(self, count):
        """Returns the int32 classes of `batches`, None if unconditional."""
        if self.num_classes:
            return np.arange(count, dtype=np.int32) % self.num_classes
        return None


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
