"""What a `GAN` is given: refused if it can't be right, else brought to form."""

import keras
import numpy as np
import tensorflow as tf

# Resizing may overshoot a little; pictures in [0, 255] are far out.
_LARGEST = 1.25


def arguments(
    discriminator_steps, generator_batch_size, average_decay, **penalties
):
    """Raises a ValueError on an argument of a `GAN` that is out of range."""
    if discriminator_steps < 1:
        raise ValueError(
            "`discriminator_steps` must be positive. Received: "
            f"discriminator_steps={discriminator_steps}"
        )
    if generator_batch_size is not None and generator_batch_size < 1:
        raise ValueError(
            "`generator_batch_size` must be positive. Received: "
            f"generator_batch_size={generator_batch_size}"
        )
    for name, factor in penalties.items():
        if not 0 <= factor < float("inf"):
            raise ValueError(
                f"`{name}` must be 0 or more and finite. "
                f"Received: {name}={factor}"
            )
    if not 0 <= average_decay < 1:
        raise ValueError(
            "`average_decay` must be in [0, 1). Received: "
            f"average_decay={average_decay}"
        )


def class_names(names, num_classes):
    """Returns a tuple; raises a ValueError unless there is one for each."""
    names = tuple(names)
    if names and len(names) != (num_classes or 0):
        raise ValueError(
            f"`class_names` must be as many as the classes, {num_classes or 0}."
            f" Received: {len(names)} names"
        )
    return names


def networks(generator, discriminator, num_classes):
    """Raises a ValueError unless two networks go together.

    Args:
        generator: Its `passes.Signature`.
        discriminator: The same.
        num_classes: Of the `GAN`.
    """
    made, taken = generator.outputs[0], discriminator.inputs[0]
    if made != taken:
        raise ValueError(
            "The generator must make what the discriminator takes. "
            f"Received: images of shape {made}, {taken}"
        )
    conditional = len(generator.inputs) == 2
    if conditional != bool(num_classes):
        raise ValueError(
            "`num_classes` must be given if the generator takes labels, and "
            f"only then. Received: num_classes={num_classes}, a generator of "
            f"{len(generator.inputs)} inputs"
        )
    uses_labels = len(discriminator.inputs) + len(discriminator.outputs) > 2
    if conditional != uses_labels:
        raise ValueError(
            "Generator and discriminator must both be conditional, or neither. "
            f"Received: {len(generator.inputs)} inputs of the generator, "
            f"{len(discriminator.inputs)} inputs and "
            f"{len(discriminator.outputs)} outputs of the discriminator"
        )


def batch(data, image_shape, num_classes):
    """Returns `(images, labels)` of what `fit` hands on.

    Args:
        data: Images, or a tuple of images and labels.
        image_shape: Of one image.
        num_classes: None if unconditional.

    Returns:
        Images `(batch, *image_shape)`, float32 in [-1, 1] or uint8, and int32
        labels `(batch,)`, None if unconditional.

    Raises:
        ValueError: If they are of another kind or shape.
    """
    images, labels, _ = keras.utils.unpack_x_y_sample_weight(data)
    if isinstance(images, (dict, list, tuple)):
        raise ValueError(
            "`x` must be images, labels of which are `y`. Received: "
            f"x={type(images).__name__}"
        )
    images = tf.convert_to_tensor(images)
    if not (images.dtype.is_floating or images.dtype == tf.uint8):
        raise ValueError(
            "`x` must be images, float in [-1, 1] or uint8. Received: x of "
            f"dtype {images.dtype.name}"
        )
    if not images.shape.is_compatible_with((None, *image_shape)):
        raise ValueError(
            f"`x` must be batches of the generator's shape {image_shape}. "
            f"Received: x of shape {tuple(images.shape)}"
        )
    if images.dtype.is_floating:
        images = tf.cast(images, tf.float32)
    if not num_classes:
        return images, None
    if labels is None:
        raise ValueError(
            "A conditional GAN needs batches of (images, labels). "
            "Received: batches of images alone"
        )
    labels = _labels(labels, num_classes)
    if not labels.shape.is_compatible_with(images.shape[:1]):
        raise ValueError(
            "`y` must be as many as the images. Received: "
            f"{labels.shape[0]} labels, {images.shape[0]} images"
        )
    return images, labels


def _labels(labels, num_classes):
    labels = tf.convert_to_tensor(labels)
    rank = labels.shape.rank
    if rank == 2 and labels.shape[1] == 1:
        labels, rank = labels[:, 0], 1
    if not labels.dtype.is_integer or rank not in (1, None):
        raise ValueError(
            "`y` must be integer labels of shape (batch,), from 0 to "
            f"{num_classes - 1}. Received: y of dtype {labels.dtype.name} and "
            f"shape {tuple(labels.shape)}"
        )
    return tf.cast(labels, tf.int32)


def values(images, labels, num_classes):
    """Raises a ValueError on a `batch` whose numbers are out of range.

    It looks at them, which a training step could not afford.
    """
    largest = np.abs(images).max(initial=0)
    if images.dtype != tf.uint8 and not largest <= _LARGEST:
        raise ValueError(
            "`x` must be images, float in [-1, 1] or uint8. Received: "
            f"floats from {np.min(images):g} to {np.max(images):g}"
        )
    if labels is not None:
        labels = np.array(labels)
        if not ((labels >= 0) & (labels < num_classes)).all():
            raise ValueError(
                f"`y` must be integer labels from 0 to {num_classes - 1}. "
                f"Received: y from {labels.min()} to {labels.max()}"
            )


class WholeExecutions(keras.callbacks.Callback):
    """Refuses to train on batches that executions would not end with."""

    def on_train_begin(self, logs=None):
        batches, each = self.params["steps"], self.model.steps_per_execution
        if batches and batches % each:
            raise ValueError(
                "`steps_per_execution` must divide the batches of an epoch. "
                f"Received: steps_per_execution={each}, {batches} batches"
            )
        replicas = self.model.distribute_strategy.num_replicas_in_sync
        if batches is None and each > 1 and replicas > 1:
            raise ValueError(
                "`steps_per_epoch` must be given where `steps_per_execution` "
                "is more than 1 on several replicas and the data don't tell "
                "their number. Received: steps_per_epoch=None"
            )
