"""Spectral normalization of any Keras layer (Miyato et al., 2018)."""

from typing import Any

import keras
from keras import initializers
from keras import ops

from sngan_tf import types
from sngan_tf.layers import kernel_normalization
from sngan_tf.layers import kernels
from sngan_tf.layers import norms
from sngan_tf.layers import power_iteration


@keras.saving.register_keras_serializable("sngan_tf")
class SpectralNormalization(kernel_normalization.KernelNormalization):
    """Divides the kernels of a layer by their spectral norm.

    Only calls with `training=True`, or `update()`, let sigma follow the
    kernel: `model.fit` and `GAN` see to it, a training loop of your own must,
    as `discriminator(images, training=True)`. Without them the norm in effect
    leaves the bound as the kernel moves.

    The wrapped layer computes with `bound * W / sigma(W)`. Its own kernel
    stays the trainable, un-normalised W and is never assigned; sigma is part
    of the graph, so the gradient is that of Eq. 9-12. By default each kernel
    is read as the matrix d_out x rest (see `kernels.find_kernels`) and has one
    non-trainable float32 vector `u`.

    With `training=True` a call advances `u` by `power_iterations` steps
    (Algorithm 1) and uses the new one; with `training=False` no variable
    changes. Departure from the paper: `u` is settled on the initial kernel at
    build, so that sigma is right from the first call on.

    W, `u` and sigma are float32 under every dtype policy: a wrapped layer of
    a pure half-precision policy is given the mixed one, and only the quotient
    is cast. A zero kernel stays zero, with finite gradients.

    Args:
        layer: Any Keras layer with kernels: dense, convolution (transposed,
            depthwise, separable), `EinsumDense`, `MultiHeadAttention`,
            `Embedding`, recurrent, or a layer made of these.
        power_iterations: Steps for each training call, at least 1.
        norm: Which norm divides.
            `"matrix"`: that of the kernel as d_out x rest, as in the paper.
            `"conv"`: of a convolution, the operator norm of the map itself
            with its stride, padding, dilation and groups, at the input size
            that the layer was built with (footnote 3); `u` is a picture of
            its outputs. Other kernels as `"matrix"`.
            `"bidirectional"`: of a convolution, the mean of the norms of its
            kernel as d_out x rest and as d_in x rest (BSN, Lin et al., 2021);
            the second has a vector of its own, `u_in`. Other kernels, and
            those whose two matrices agree, as `"matrix"`.
        bound: The norm that the kernels get, positive (the authors'
            `factor`). Other than 1, Lin et al. call the result SSN with the
            norm `"matrix"`, and BSSN with `"bidirectional"`.
        at_most: If true, kernels whose norm is below `bound` stay as they
            are: W / max(1, sigma(W) / bound), of which the gradient is then
            the identity.
        learn_scale: If true, a trainable scalar `gamma` for each kernel takes
            the place of `bound` (Appendix E, Eq. 32); it starts at sigma(W),
            so that the layer starts unchanged (at 1 for a zero kernel).
        output_axes: For a custom layer, `{attribute: axis or axes}`: which of
            its variables are kernels, and which of their axes count outputs.
            None finds both for the layers that Keras has.
        **kwargs: `name` and `trainable`. `dtype` is accepted and has no
            effect: the wrapped layer's own policy decides.

    Call arguments: those of the wrapped layer.

    Raises:
        ValueError: On an argument out of range, on a layer without kernels
            or with half-precision ones, on a layer that is normalised or
            quantized already, or has LoRA, on `at_most` with `learn_scale`,
            and at build if `"conv"` finds a convolution of open input size.

    Example:
        >>> layer = SpectralNormalization(keras.layers.Conv2D(64, 3))
        >>> outputs = layer(images, training=True)

    References: https://arxiv.org/abs/1802.05957 (spectral normalization),
    https://arxiv.org/abs/2009.02773 (bidirectional).
    """

    def __init__(
        self,
        layer: keras.Layer,
        power_iterations: int = 1,
        norm: norms.Norm = "matrix",
        bound: float = 1.0,
        at_most: bool = False,
        learn_scale: bool = False,
        output_axes: kernels.OutputAxes | None = None,
        **kwargs: Any,
    ):
        _check_arguments(power_iterations, norm, bound, at_most, learn_scale)
        super().__init__(layer, learn_scale, output_axes, **kwargs)
        self.power_iterations = int(power_iterations)
        self.norm = norm
        self.bound = float(bound)
        self.at_most = bool(at_most)

    def spectral_norm(self) -> types.Tensor:
        """Returns the current estimate of sigma(W), a float32 scalar.

        In the layer's own norm, and of W itself, whatever `bound` is.
        A layer with several kernels returns a list, in the order of
        `kernels`.
        """
        sigmas = [
            self._divisor(i, kernel) for i, kernel in enumerate(self._kernels)
        ]
        return sigmas[0] if len(sigmas) == 1 else sigmas

    def update(self) -> None:
        """Advances every `u` by `power_iterations` steps, without a call.

        Once for each update of the kernels does what calls with
        `training=True` do, for training loops that make none.

        Raises:
            ValueError: If the layer is not built.
        """
        if not self.built:
            raise ValueError(
                f"The layer to update must be built. Received: {self.name}"
            )
        for i, kernel in enumerate(self._kernels):
            self._sigma(i, kernel, training=True)

    def get_config(self):
        return {
            **super().get_config(),
            "power_iterations": self.power_iterations,
            "norm": self.norm,
            "bound": self.bound,
            "at_most": self.at_most,
        }

    def _build_statistics(self):
        holders = kernels.holders(self.layer, self.output_axes)
        self._norms = tuple(
            norms.of_kernel(self.norm, *found)
            for found in zip(holders, self._kernels, self._output_axes)
        )
        self._vectors = [
            [self._add_vector(i, norm) for norm in several]
            for i, several in enumerate(self._norms)
        ]

    def _settle_statistics(self):
        for i, vectors in enumerate(self._vectors):
            for norm, u in zip(self._norms[i], vectors):
                u.assign(self._settled_vector(i, norm))

    def _settled_vector(self, index, norm):
        kernel = ops.cast(self._kernels[index], "float32")
        start = initializers.RandomNormal(stddev=1.0)(norm.shape, "float32")
        return norm.settle(kernel, start)

    def _add_vector(self, index, norm):
        vector = self.add_weight(
            name=norm.name,
            shape=norm.shape,
            initializer=lambda shape, dtype=None: self._settled_vector(
                index, norm
            ),
            dtype="float32",
            trainable=False,
            autocast=False,
            aggregation="only_first_replica",
        )
        return self._keep(norm.name, index, vector)

    def _sigma(self, index, kernel, training=False):
        kernel = ops.cast(kernel, "float32")
        advances = training and not power_iteration.is_paused()
        sigmas = []
        for norm, vector in zip(self._norms[index], self._vectors[index]):
            u = ops.cast(vector, "float32")
            if advances:
                u, sigma = norm.advance(kernel, u, self.power_iterations)
                vector.assign(u)
            else:
                sigma = norm.measure(kernel, u)
            sigmas.append(sigma)
        return norms.mean(sigmas)

    def _factor(self, index, kernel, training):
        if not self.at_most:
            return super()._factor(index, kernel, training)
        sigma = self._sigma(index, kernel, training)
        return ops.where(
            sigma.value > self.bound, sigma.inverse * self.bound, 1.0
        )

    def _divisor(self, index, kernel, training=False):
        return self._sigma(index, kernel, training).value

    def _inverse(self, index, kernel, training=False):
        return self._sigma(index, kernel, training).inverse


def _check_arguments(power_iterations, norm, bound, at_most, learn_scale):
    if int(power_iterations) != power_iterations or power_iterations < 1:
        raise ValueError(
            "`power_iterations` must be an integer of at least 1. "
            f"Received: power_iterations={power_iterations}"
        )
    if norm not in norms.NORMS:
        raise ValueError(
            f"`norm` must be one of {', '.join(map(repr, norms.NORMS))}. "
            f"Received: norm={norm!r}"
        )
    if not 0 < bound < float("inf"):
        raise ValueError(
            f"`bound` must be positive and finite. Received: bound={bound}"
        )
    if learn_scale and bound != 1.0:
        raise ValueError(
            "`bound` must stay 1.0 with `learn_scale`, which takes its place. "
            f"Received: bound={bound}"
        )
    if learn_scale and at_most:
        raise ValueError(
            "`at_most` must stay False with `learn_scale`, which has no bound. "
            f"Received: at_most={at_most}"
        )
