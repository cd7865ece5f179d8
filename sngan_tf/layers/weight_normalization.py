"""Normalizations by Euclidean norms: of each row, and of the whole kernel."""

import keras
from keras import ops

from sngan_tf.layers import kernel_normalization


@keras.saving.register_keras_serializable("sngan_tf")
class WeightNormalization(kernel_normalization.KernelNormalization):
    """Divides each row of a kernel by its 2-norm (Salimans & Kingma, 2016).

    A row holds the weights of one output: of the matrix d_out x rest, so the
    squared singular values sum to d_out (section 3, Eq. 13 of Miyato et al.).
    As there, rows have no scale of their own: a factor for each would undo
    the Lipschitz bound. Zero rows stay zero.

    Args:
        layer: Any Keras layer with kernels.
        learn_scale: If true, one trainable scalar `gamma` multiplies each
            kernel (Appendix E); it starts at `|W|_F / sqrt(d_out)`, which keeps
            the Frobenius norm of a kernel without zero rows (our choice).
        output_axes: As of `SpectralNormalization`.
        **kwargs: `name` and `trainable`.

    Raises:
        ValueError: On a layer without kernels or normalised already.
    """

    def _divisor(self, index, kernel, training=False):
        rank = len(kernel.shape)
        outputs = {axis % rank for axis in self._output_axes[index]}
        rest = tuple(axis for axis in range(rank) if axis not in outputs)
        return _norm(kernel, rest)


@keras.saving.register_keras_serializable("sngan_tf")
class FrobeniusNormalization(kernel_normalization.KernelNormalization):
    """Divides each kernel by its Frobenius norm (Appendix E of Miyato et al.).

    The squared singular values then sum to 1. A zero kernel stays zero.

    Args:
        layer: Any Keras layer with kernels.
        learn_scale: If true, one trainable scalar `gamma` multiplies each
            kernel; it starts at `|W|_F`, so that the layer starts unchanged.
        output_axes: As of `SpectralNormalization`.
        **kwargs: `name` and `trainable`.

    Raises:
        ValueError: On a layer without kernels or normalised already.
    """

    def _divisor(self, index, kernel, training=False):
        return _norm(kernel, axes=None)


def _norm(kernel, axes):
    """Returns the 2-norm over axes, float32, 0 with gradient 0 at zero."""
    kernel = ops.cast(ops.convert_to_tensor(kernel), "float32")
    largest = ops.stop_gradient(
        ops.max(ops.abs(kernel), axis=axes, keepdims=True)
    )
    largest = ops.where(largest > 0, largest, ops.ones_like(largest))
    square = ops.sum(ops.square(kernel / largest), axis=axes, keepdims=True)
    # The inner `where` keeps the root's infinite slope at 0 out of gradients.
    positive = ops.where(square > 0, square, ops.ones_like(square))
    return ops.where(square > 0, ops.sqrt(positive), square) * largest
