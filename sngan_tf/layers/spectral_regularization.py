"""Spectral norm regularization (Yoshida & Miyato, 2017)."""

from typing import Any

import keras
from keras import ops

from sngan_tf.layers import kernels
from sngan_tf.layers import spectral_normalization


@keras.saving.register_keras_serializable("sngan_tf")
class SpectralRegularization(spectral_normalization.SpectralNormalization):
    """Adds `coefficient / 2 * sigma(W)^2` to the losses for each kernel.

    Sigma is measured as `SpectralNormalization` measures it, with the same
    persistent `u`, but divides nothing: the layer computes with W itself, and
    the loss has the gradient `coefficient * sigma u v^T`. Only calls with
    `training=True` add the loss and advance `u`.

    Args:
        layer: Any Keras layer with kernels.
        coefficient: The paper's lambda, not negative. 0.01 is what published
            comparisons use.
        power_iterations: Steps for each training call, at least 1.
        output_axes: As of `SpectralNormalization`.
        name: Of the layer.
        trainable: Whether its weights are.
        dtype: Accepted and without effect: the wrapped layer's own decides.

    Raises:
        ValueError: On an argument out of range or a layer without kernels.

    Reference: https://arxiv.org/abs/1705.10941
    """

    def __init__(
        self,
        layer: keras.Layer,
        coefficient: float = 0.01,
        power_iterations: int = 1,
        output_axes: kernels.OutputAxes | None = None,
        name: str | None = None,
        trainable: bool = True,
        dtype: Any = None,
    ):
        if not 0 <= coefficient < float("inf"):
            raise ValueError(
                "`coefficient` must be 0 or more and finite. Received: "
                f"coefficient={coefficient}"
            )
        super().__init__(
            layer,
            power_iterations=power_iterations,
            output_axes=output_axes,
            name=name,
            trainable=trainable,
            dtype=dtype,
        )
        self.coefficient = float(coefficient)

    def get_config(self):
        config = super().get_config()
        for name in ("norm", "bound", "at_most", "learn_scale"):
            config.pop(name)
        return {**config, "coefficient": self.coefficient}

    def _normalize(self, index, training):
        kernel = ops.convert_to_tensor(self._kernels[index])
        if training:
            sigma = self._divisor(index, kernel, training)
            self.add_loss(self.coefficient / 2 * ops.square(sigma))
        return kernel
