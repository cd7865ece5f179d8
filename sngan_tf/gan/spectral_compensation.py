"""The compensation of singular values of SR-GAN (Liu et al., 2019)."""

import typing
from typing import Literal

import keras
import numpy as np
from keras import ops

from sngan_tf.gan import step_callback
from sngan_tf.layers import kernels as kernels_lib
from sngan_tf.layers import power_iteration

Kind = Literal["static", "dynamic"]
KINDS = typing.get_args(Kind)
_CONVOLUTIONS = (*kernels_lib.CONVOLUTIONS, *kernels_lib.TRANSPOSED)


class SpectralCompensation(step_callback.StepCallback):
    """Raises the small singular values of a discriminator's convolutions.

    Beside spectral normalization, against "spectral collapse": the fall of
    most singular values that goes with mode collapse. Every so many generator
    updates each kernel W = U diag(s) V^T, read as the matrix d_out x rest, is
    edited in place. U and V stay, and so does what `u` has settled on.

    - `"static"`: W = U diag(r) V^T, where r is 1 for the first floor(N / 2) of
      N values and s / s_1 for the others.
    - `"dynamic"`: W = U diag(s_1 R) V^T, where R is the largest s / s_1 that
      each place has had, so that ratios only grow.

    A kernel of zeros, or of numbers that are not finite, is left as it is.

    Departure from the authors' code, which edits after each of the
    discriminator updates of every fifth generator update: here it is once,
    after that generator update.

    On several hosts each computes the decomposition, on processors that
    should therefore be alike.

    Args:
        kind: `"static"` or `"dynamic"`.
        every: Generator updates between two edits, of which the numbers are
            its multiples; the authors' 5.

    Attributes:
        variables: R of each kernel, zeros before the first edit; without
            these a training that goes on forgets. There are none of
            `"static"`, and before `set_model`, which `fit` calls: to save them
            use `tf.train.Checkpoint(gan=gan, record=callback.variables)` after
            `callback.set_model(gan)`.

    Raises:
        ValueError: On an argument out of range, on a model whose discriminator
            has no convolution, and in `fit` if an execution would not end
            where an edit is due.

    Example:
        >>> gan.fit(dataset, callbacks=[SpectralCompensation("dynamic")])

    Reference: https://arxiv.org/abs/1908.10999
    """

    def __init__(self, kind: Kind = "static", every: int = 5):
        super().__init__()
        if kind not in KINDS:
            raise ValueError(
                f"`kind` must be one of {', '.join(KINDS)}. "
                f"Received: kind={kind}"
            )
        if int(every) != every or every < 1:
            raise ValueError(
                "`every` must be an integer of at least 1. "
                f"Received: every={every}"
            )
        self.kind = kind
        self.every = int(every)
        self.variables: list[keras.Variable] = []
        self._kernels: list = []

    def check_executions(self, steps_per_execution: int) -> None:
        """Raises a ValueError unless executions end where an edit is due."""
        if self.every % steps_per_execution:
            raise ValueError(
                "`steps_per_execution` must divide the updates between two "
                f"edits of singular values, {self.every}. Received: "
                f"steps_per_execution={steps_per_execution}"
            )

    def set_model(self, model):
        """Takes a `GAN`, of which it keeps the record from then on."""
        if model is self.model:
            return
        super().set_model(model)
        self._kernels = _convolution_kernels(model.discriminator)
        if not self._kernels:
            raise ValueError(
                "The discriminator must have convolutions, whose singular "
                f"values are edited. Received: {model.discriminator.name}"
            )
        if self.kind == "dynamic":
            self.variables = [
                keras.Variable(
                    np.zeros(min(_matrix(*pair).shape), "float32"),
                    trainable=False,
                    name="singular_value_ratios",
                )
                for pair in self._kernels
            ]

    def on_train_begin(self, logs=None):
        super().on_train_begin()
        self.check_executions(getattr(self.model, "steps_per_execution", 1))

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch)
        if self.step % self.every == 0:
            self.compensate()

    def compensate(self) -> None:
        """Edits every kernel, now."""
        for i, (kernel, axes) in enumerate(self._kernels):
            matrix = _matrix(kernel, axes)
            if not matrix.any() or not np.isfinite(matrix).all():
                continue
            u, s, vt = np.linalg.svd(matrix, full_matrices=False)
            s = self._static(s) if self.kind == "static" else self._grown(i, s)
            kernel.assign(_as_kernel((u * s) @ vt, kernel.shape, axes))

    def _static(self, s):
        ratios = s / s[0]
        ratios[: len(s) // 2] = 1.0
        return ratios

    def _grown(self, index, s):
        record = self.variables[index]
        ratios = np.maximum(ops.convert_to_numpy(record), s / s[0])
        record.assign(ratios)
        return s[0] * ratios


def _convolution_kernels(model):
    """Returns `(variable, output axes)` of each kernel, once."""
    found = {}
    for layer in kernels_lib.sublayers(model):
        if isinstance(layer, _CONVOLUTIONS):
            for kernel, axes in kernels_lib.own_kernels(layer):
                found.setdefault(id(kernel), (kernel, axes))
    return [*found.values()]


def _matrix(kernel, axes):
    """Returns a convolution's kernel as the matrix d_out x rest, of NumPy."""
    return ops.convert_to_numpy(power_iteration.as_matrix(kernel, axes))


def _as_kernel(matrix, shape, axes):
    """Returns the kernel of a shape whose `_matrix` it is."""
    (axis,) = axes
    rest = [*shape]
    d_out = rest.pop(axis)
    return np.moveaxis(matrix.reshape(d_out, *rest), 0, axis)
