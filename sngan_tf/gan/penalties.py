"""What a discriminator is held by beside its layers: penalties and clipping.

On `keras.ops` alone. Gradient penalties take gradients, which each backend
computes in its own way.
"""

import keras
from keras import ops

from sngan_tf import types


def interpolate(
    real_images: types.Tensor, fake_images: types.Tensor, mix: types.Tensor
) -> types.Tensor:
    """Returns `mix * real + (1 - mix) * fake` (Eq. 31).

    Args:
        real_images: `(batch, height, width, channels)`.
        fake_images: The same shape.
        mix: `(batch, 1, 1, 1)`, uniform in [0, 1).
    """
    return mix * real_images + (1.0 - mix) * fake_images


def gradient_penalty(gradients: types.Tensor) -> types.Tensor:
    """Returns `mean((|gradient|_2 - 1)^2)` (Eq. 30), a float32 scalar.

    Its own gradient is 0, not undefined, where a gradient is 0.

    Args:
        gradients: Of each image's logit in that image, `(batch, ...)`.
    """
    square = _squared_norms(gradients)
    # The inner `where` keeps the root's infinite slope at 0 out.
    positive = ops.where(square > 0, square, ops.ones_like(square))
    norm = ops.where(square > 0, ops.sqrt(positive), square)
    return ops.mean(ops.square(norm - 1.0))


def zero_centered_penalty(gradients: types.Tensor) -> types.Tensor:
    """Returns `mean(|gradient|_2^2)`, a float32 scalar.

    Of as many real as fake images it is half the sum of both means, of R1
    (Mescheder et al., 2018) and R2, as R3GAN has them (Huang et al., 2024).

    Args:
        gradients: Of each image's logit in that image, `(batch, ...)`.
    """
    return ops.mean(_squared_norms(gradients))


def _squared_norms(gradients):
    gradients = ops.cast(gradients, "float32")
    axes = tuple(range(1, len(gradients.shape)))
    return ops.sum(ops.square(gradients), axis=axes)


@keras.saving.register_keras_serializable("sngan_tf")
class Orthonormal(keras.regularizers.Regularizer):
    """`coefficient * |W W^T - I|_F^2` of a kernel as a matrix (Eq. 14).

    The product is taken on the smaller side of W, on which alone W can be
    orthonormal; the paper does not say which side it takes.

    Args:
        coefficient: Factor of the penalty, not negative. The paper does not
            state its own.

    Call arguments:
        kernel: Tensor of at least two axes, its last one the outputs (or an
            embedding table).

    Raises:
        ValueError: If `coefficient` is out of range.
    """

    def __init__(self, coefficient: float):
        if not 0 <= coefficient < float("inf"):
            raise ValueError(
                "`coefficient` must be 0 or more and finite. Received: "
                f"coefficient={coefficient}"
            )
        self.coefficient = float(coefficient)

    def __call__(self, kernel):
        matrix = ops.reshape(kernel, (-1, kernel.shape[-1]))
        if matrix.shape[0] > matrix.shape[1]:
            matrix = ops.transpose(matrix)
        gram = ops.matmul(matrix, ops.transpose(matrix))
        residual = gram - ops.eye(matrix.shape[0], dtype=gram.dtype)
        return self.coefficient * ops.sum(ops.square(residual))

    def get_config(self):
        return {"coefficient": self.coefficient}


@keras.saving.register_keras_serializable("sngan_tf")
class WeightClipping(keras.constraints.Constraint):
    """Clips every weight to [-limit, limit] after each update of it.

    Args:
        limit: The paper's c, positive.

    Raises:
        ValueError: If `limit` is out of range.
    """

    def __init__(self, limit: float):
        if not 0 < limit < float("inf"):
            raise ValueError(
                f"`limit` must be positive and finite. Received: limit={limit}"
            )
        self.limit = float(limit)

    def __call__(self, kernel):
        return ops.clip(kernel, -self.limit, self.limit)

    def get_config(self):
        return {"limit": self.limit}
