"""Pictures of a generator, as functions of a seed."""

from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from sngan_tf import images as images_lib
from sngan_tf import noise
from sngan_tf import types
from sngan_tf.gan import passes

_BATCH_SIZE = 500  # Of 32 pixels; fewer of larger ones.
_ENLARGED_SIDE = 32
_GAP = 2


class Sampler(tf.Module):
    """The functions that training, evaluation and serving sample with.

    One graph for all of them, so that a served picture is the trained one.

    Args:
        generator: Built Keras model, latents `(batch, latent_dim)`, and labels
            `(batch,)` if conditional, to images in [-1, 1].
        num_classes: Number of classes of a conditional generator, else None.
    """

    def __init__(self, generator: keras.Model, num_classes: int | None = None):
        super().__init__()
        self.generator = generator
        self.num_classes = num_classes
        signature = passes.signature(generator, "generator")
        self.latent_dim = signature.inputs[0][-1]
        self.image_shape = signature.outputs[0]
        latents = tf.TensorSpec((None, self.latent_dim), tf.float32, "latents")
        labels = tf.TensorSpec((None,), tf.int32, "labels")
        seed, count, label = (
            tf.TensorSpec((), tf.int32, name)
            for name in ("seed", "count", "label")
        )
        self.images = tf.function(
            self._images,
            input_signature=[latents, labels] if num_classes else [latents],
        )
        self.sample = tf.function(self._sample, input_signature=[seed, count])
        if num_classes:
            self.sample_class = tf.function(
                self._sample_class, input_signature=[seed, count, label]
            )

    def _images(self, latents, labels=None):
        """`latents, [labels]` to `{"images": uint8 (batch, height, ...)}`."""
        count = tf.shape(latents)[0]
        # Convolutions answer an empty batch in a wrong shape.
        added = tf.cast(count == 0, tf.int32)
        inputs = tf.pad(latents, [[0, added], [0, 0]])
        if self.num_classes:
            labels = self._of_each(labels, count)
            inputs = [inputs, tf.pad(labels, [[0, added]])]
        images = self.generator(inputs, training=False)
        return {"images": images_lib.to_uint8(images)[:count]}

    def _of_each(self, labels, count):
        """Returns labels `(count,)`; one alone is that of all.

        Raises:
            InvalidArgumentError: On other labels than those of classes, or
                another number of them.
        """
        number = tf.size(labels)
        is_class = (labels >= 0) & (labels < self.num_classes)
        check = tf.debugging.Assert(
            tf.reduce_all(is_class) & ((number == count) | (number == 1)),
            [
                f"`labels` must be in [0, {self.num_classes}), one for each "
                "of the latents or one for all. Received:",
                *(count, "latents,", number, "labels from"),
                *(tf.reduce_min(labels), "to", tf.reduce_max(labels)),
            ],
        )
        with tf.control_dependencies([check]):
            return tf.broadcast_to(labels, (count,))

    def _sample(self, seed, count):
        """`count` pictures, a function of `seed`, of all classes in turn."""
        return self._sample_class(seed, count, -1)

    def _sample_class(self, seed, count, label):
        """The same, of one class where `label` is not -1."""
        check = tf.debugging.Assert(
            count >= 0, ["`count` must be 0 or more. Received: count =", count]
        )
        with tf.control_dependencies([check]):
            count = tf.identity(count)
        return self.images(*self._inputs(seed, count, label))

    def _inputs(self, seed, count, label=-1):
        latents = noise.normal((count, self.latent_dim), noise.fold_in(seed))
        if not self.num_classes:
            return (latents,)
        in_turn = tf.range(count) % self.num_classes
        return latents, tf.where(tf.equal(label, -1), in_turn, label)

    def batches(
        self, seed: int, count: int, label: int = -1
    ) -> Iterator[tf.Tensor]:
        """Yields what `sample` does in parts, uint8 tensors.

        Args:
            seed: Integer that the pictures are a function of.
            count: How many in all.
            label: Class of all, of a conditional generator; -1 for all
                classes in turn.

        Raises:
            ValueError: If there is no such class, or on a negative count.
        """
        if count < 0:
            raise ValueError(
                f"`count` must be 0 or more. Received: count={count}"
            )
        if not -1 <= label < (self.num_classes or 0):
            raise ValueError(
                f"`label` must be in [-1, {self.num_classes or 0}). "
                f"Received: label={label}"
            )
        inputs = self._inputs(seed, count, label)
        size = images_lib.batch_size(_BATCH_SIZE, self.image_shape[0])
        for i in range(0, max(count, 1), size):
            yield self.images(*(x[i : i + size] for x in inputs))["images"]

    def many(self, seed: int, count: int, label: int = -1) -> np.ndarray:
        """Returns the pictures of `batches` as an array."""
        return np.concatenate([*self.batches(seed, count, label)])

    def labels(self, count: int) -> np.ndarray | None:
        """Returns the int32 classes of `batches`, None if unconditional."""
        if self.num_classes:
            return np.arange(count, dtype=np.int32) % self.num_classes
        return None


def grid(images: np.ndarray, columns: int | None = None) -> np.ndarray:
    """Returns pictures as a grid, small ones enlarged by a whole number.

    Args:
        images: `(count, size, size, channels)`, uint8.
        columns: Pictures in a row; by default as many as make a square.

    Returns:
        uint8 `(height, width, channels)`.
    """
    factor = _enlargement(images.shape[1])
    enlarged = images.repeat(factor, axis=1).repeat(factor, axis=2)
    return images_lib.grid(enlarged, columns, gap=_GAP)


def save_grid(path: types.Path, images: np.ndarray) -> np.ndarray:
    """Writes the `grid` of pictures as a PNG, and returns it."""
    made = grid(images)
    images_lib.save_png(path, made)
    return made


def first_row(path: types.Path, image_size: int) -> np.ndarray:
    """Returns the top row of a grid that `save_grid` has written."""
    return images_lib.read_png(path)[: _cell(image_size)]


def corner(
    path: types.Path, image_size: int, height: int, width: int
) -> np.ndarray:
    """Returns what of such a grid fits in a size, but one picture at least.

    Whole pictures from the top left, uint8 `(height, width, channels)`.
    """
    side = _cell(image_size)
    rows, columns = (max(1, size // side) * side for size in (height, width))
    return images_lib.read_png(path)[:rows, :columns]


def _cell(image_size):
    return image_size * _enlargement(image_size) + _GAP


def _enlargement(image_size):
    return max(1, _ENLARGED_SIDE // image_size)
