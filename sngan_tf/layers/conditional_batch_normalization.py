"""Batch normalization with a scale and shift for each class."""

from typing import Any

import keras
from keras import layers
from keras import ops


@keras.saving.register_keras_serializable("sngan_tf")
class ConditionalBatchNormalization(keras.layers.Layer):
    """Normalises as batch normalization, then scales and shifts by class.

    As in the authors' code of the projection discriminator (Miyato & Koyama,
    2018): no affine part of its own, but rows of `gamma` (from 1) and `beta`
    (from 0), each `(num_classes, channels)`, looked up by label.

    Args:
        num_classes: Number of classes, positive.
        momentum: Decay of the running mean and variance.
        epsilon: Added to the variance.
        synchronized: Whether the statistics are those of all replicas.
        **kwargs: Of every Keras layer.

    Call arguments:
        inputs: `(batch, ..., channels)`.
        labels: Integers `(batch,)` in [0, num_classes).
        training: Whether to use, and keep, the statistics of the batch.

    Raises:
        ValueError: If `num_classes` is not positive.
    """

    def __init__(
        self,
        num_classes: int,
        momentum: float = 0.9,
        epsilon: float = 2e-5,
        synchronized: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if num_classes < 1:
            raise ValueError(
                "`num_classes` must be positive. Received: "
                f"num_classes={num_classes}"
            )
        self.num_classes = num_classes
        self.momentum = momentum
        self.epsilon = epsilon
        self.synchronized = synchronized
        self.normalization = layers.BatchNormalization(
            momentum=momentum,
            epsilon=epsilon,
            center=False,
            scale=False,
            synchronized=synchronized,
            dtype=self.dtype_policy,
            name="normalization",
        )

    def build(self, inputs_shape, labels_shape):
        self.normalization.build(inputs_shape)
        shape = (self.num_classes, inputs_shape[-1])
        self.gamma = self.add_weight(
            name="gamma", shape=shape, initializer="ones"
        )
        self.beta = self.add_weight(
            name="beta", shape=shape, initializer="zeros"
        )

    def call(self, inputs, labels, training=None):
        outputs = self.normalization(inputs, training=training)
        # One row for all positions of a picture.
        ones = (1,) * (len(inputs.shape) - 2)
        shape = (-1, *ones, inputs.shape[-1])
        gamma = ops.reshape(ops.take(self.gamma, labels, axis=0), shape)
        beta = ops.reshape(ops.take(self.beta, labels, axis=0), shape)
        return outputs * gamma + beta

    def compute_output_shape(self, inputs_shape, labels_shape):
        return inputs_shape

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "synchronized": self.synchronized,
        }
