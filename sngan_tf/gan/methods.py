"""How the discriminator is held in check: methods as data.

Rows of Table 2, with spectral norm regularization (section 2.1) and the
reparametrisations of Tables 7 and 8 (Appendix E), then what came after the
paper. A new method is a new row. The generator is the same under all of them.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import keras
from keras import initializers
from keras import layers
from keras import ops

from sngan_tf import types
from sngan_tf.gan import losses
from sngan_tf.gan import penalties
from sngan_tf.gan import spectral_compensation
from sngan_tf.layers import FrobeniusNormalization
from sngan_tf.layers import SpectralNormalization
from sngan_tf.layers import SpectralRegularization
from sngan_tf.layers import WeightNormalization


@dataclasses.dataclass(frozen=True)
class Method:
    """What a method does to the discriminator.

    Attributes:
        layer: `(layer, coefficient) -> layer`, applied to every unbuilt
            layer with weights, or None.
        norm: `(name) -> layer` that normalises feature maps, or None.
        gradient_penalty: Whether `coefficient` weighs a gradient penalty.
        zero_centered_penalty: Whether it weighs R1 and R2.
        callback: `() -> callback` for `fit`, or None.
        coefficient: The method's number, or None if it has none: lambda or
            gamma of a penalty, c of weight clipping, `bound` of spectral norm.
        losses: Names of the losses that it goes with.
        refusal: Why it doesn't go with the others.
    """

    layer: Callable[[keras.Layer, float | None], keras.Layer] | None = None
    norm: Callable[[str], keras.Layer] | None = None
    gradient_penalty: bool = False
    zero_centered_penalty: bool = False
    callback: Callable[[], keras.callbacks.Callback] | None = None
    coefficient: float | None = None
    losses: tuple[str, ...] = tuple(losses.LOSSES)
    refusal: str = ""

    @property
    def arguments(self) -> dict[str, Any]:
        """Those of `GAN` that the method asks for."""
        return {
            name: self.coefficient
            for name in ("gradient_penalty", "zero_centered_penalty")
            if getattr(self, name)
        }

    def callbacks(self) -> list[keras.callbacks.Callback]:
        """Returns those that `fit` needs for the method, new ones."""
        return [self.callback()] if self.callback else []

    def wrap(self, layer: keras.Layer) -> keras.Layer:
        """Returns a layer with weights as the method has it."""
        return self.layer(layer, self.coefficient) if self.layer else layer

    def normalize(self, x: types.Tensor, name: str) -> types.Tensor:
        """Returns feature maps as the method has them."""
        return self.norm(name)(x) if self.norm else x


def _wrapped(wrapper, **kwargs):
    def layer(layer, coefficient):
        return wrapper(layer, name=f"normalized_{layer.name}", **kwargs)

    return layer


def _spectral_norm(layer, bound, **kwargs):
    return SpectralNormalization(
        layer, bound=bound, name=f"normalized_{layer.name}", **kwargs
    )


@keras.saving.register_keras_serializable("sngan_tf")
class _DetachedSpectralNormalization(SpectralNormalization):
    """Divides by sigma(W), which the gradient takes for a constant.

    That of the kernel is G / sigma, in place of Eq. 12's
    (G - lambda u v^T) / sigma; all else is spectral normalization.
    """

    def _inverse(self, index, kernel, training=False):
        return ops.stop_gradient(super()._inverse(index, kernel, training))


def _keras_spectral_norm(layer, coefficient):
    if isinstance(layer, layers.Embedding):
        raise ValueError(
            "keras_spectral_norm must be given no Embedding, whose rows "
            "Keras's layer casts to the integers of its inputs. Received: "
            f"layer={layer.name}"
        )
    return layers.SpectralNormalization(layer, name=f"normalized_{layer.name}")


def _spectral_regularization(layer, coefficient):
    return SpectralRegularization(
        layer, coefficient, name=f"regularized_{layer.name}"
    )


def _clipped(layer, limit):
    if isinstance(layer, layers.Conv2D):
        layer.kernel_constraint = penalties.WeightClipping(limit)
    return layer


def _orthonormal(layer, coefficient):
    regularizer = penalties.Orthonormal(coefficient)
    if isinstance(layer, layers.Embedding):
        layer.embeddings_initializer = initializers.Orthogonal()
        layer.embeddings_regularizer = regularizer
    else:
        layer.kernel_initializer = initializers.Orthogonal()
        layer.kernel_regularizer = regularizer
    return layer


# No gamma in either: a learned factor would undo the Lipschitz bound
# (section 3). Decay and epsilon are those of the generator.
def _batch_norm(name):
    return layers.BatchNormalization(
        momentum=0.9, epsilon=2e-5, scale=False, name=name
    )


def _layer_norm(name):
    # One group is layer normalization over height, width and channels, with
    # a shift for each channel.
    return layers.GroupNormalization(
        groups=1, epsilon=2e-5, scale=False, name=name
    )


_NOT_WASSERSTEIN = tuple(
    name for name in losses.LOSSES if name != "wasserstein"
)
_UNBOUNDED: dict[str, Any] = {
    "losses": _NOT_WASSERSTEIN,
    "refusal": "nothing bounds the slope of its discriminator, so that the "
    "Wasserstein loss has no minimum",
}
_WGAN_GP: dict[str, Any] = {
    "gradient_penalty": True,
    "coefficient": 10.0,
    "losses": ("wasserstein",),
    "refusal": "it is the gradient penalty on the Wasserstein loss; gan_gp "
    "has it on the others",
}

_SR_GAN: dict[str, Any] = {"layer": _spectral_norm, "coefficient": 1.0}

METHODS = {
    "none": Method(**_UNBOUNDED),
    # c and convolutions alone as in the paper.
    "weight_clipping": Method(layer=_clipped, coefficient=0.01),
    "gan_gp": Method(
        gradient_penalty=True,
        coefficient=10.0,
        losses=_NOT_WASSERSTEIN,
        refusal="on the Wasserstein loss this penalty is wgan_gp",
    ),
    "wgan_gp": Method(**_WGAN_GP),
    "batch_norm": Method(norm=_batch_norm, **_UNBOUNDED),
    "layer_norm": Method(norm=_layer_norm, **_UNBOUNDED),
    "weight_norm": Method(layer=_wrapped(WeightNormalization)),
    "frobenius_norm": Method(layer=_wrapped(FrobeniusNormalization)),
    # The paper does not state its coefficient; this is our choice.
    "orthonormal": Method(layer=_orthonormal, coefficient=1e-3),
    "spectral_regularization": Method(
        layer=_spectral_regularization, coefficient=0.01
    ),
    "spectral_norm": Method(layer=_spectral_norm, coefficient=1.0),
    "wgan_gp_frobenius_norm": Method(
        layer=_wrapped(FrobeniusNormalization, learn_scale=True), **_WGAN_GP
    ),
    "wgan_gp_weight_norm": Method(
        layer=_wrapped(WeightNormalization, learn_scale=True), **_WGAN_GP
    ),
    "wgan_gp_spectral_norm": Method(
        layer=_wrapped(SpectralNormalization, learn_scale=True), **_WGAN_GP
    ),
    # By the true norm of convolutions (footnote 3), by the mean of two norms
    # (BSN; Lin et al., 2021, whose SSN and BSSN are other coefficients of
    # spectral_norm and of this), and only above the bound.
    "conv_spectral_norm": Method(
        layer=functools.partial(_spectral_norm, norm="conv"), coefficient=1.0
    ),
    "bidirectional_spectral_norm": Method(
        layer=functools.partial(_spectral_norm, norm="bidirectional"),
        coefficient=1.0,
    ),
    "soft_spectral_norm": Method(
        layer=functools.partial(_spectral_norm, at_most=True), coefficient=1.0
    ),
    # Spectral normalization with singular values raised (Liu et al., 2019).
    "sr_gan_static": Method(
        callback=functools.partial(
            spectral_compensation.SpectralCompensation, "static"
        ),
        **_SR_GAN,
    ),
    "sr_gan_dynamic": Method(
        callback=functools.partial(
            spectral_compensation.SpectralCompensation, "dynamic"
        ),
        **_SR_GAN,
    ),
    # gamma suits no data in particular; it is our choice.
    "r1_r2": Method(
        zero_centered_penalty=True,
        coefficient=1.0,
        losses=_NOT_WASSERSTEIN,
        refusal="it holds the slope of the discriminator at images and not "
        "between real and fake, so that the Wasserstein loss has no minimum",
    ),
}

# What ours are compared with; nobody should train by them. The gradient of both
# is not that of the quotient: the layer that Keras ships writes W / sigma over
# W besides, and the other differs in nothing else.
FOR_STUDIES = {
    "keras_spectral_norm": Method(layer=_keras_spectral_norm),
    "detached_spectral_norm": Method(
        layer=_wrapped(_DetachedSpectralNormalization)
    ),
}


def get(name: str | Method, coefficient: float | None = None) -> Method:
    """Returns the `Method` of that name.

    Args:
        name: A key of `METHODS` or of `FOR_STUDIES`, or a `Method`, which is
            returned as it is.
        coefficient: Takes the place of the method's own; None keeps it.

    Raises:
        ValueError: If there is no such method, or the coefficient is not
            positive or is given to a method without one.
    """
    if isinstance(name, Method):
        return name
    known = METHODS | FOR_STUDIES
    if name not in known:
        raise ValueError(
            f"`method` must be one of {', '.join(METHODS)}. "
            f"Received: method={name}"
        )
    method = known[name]
    if coefficient is None:
        return method
    if method.coefficient is None:
        raise ValueError(
            f"The method {name} has no coefficient. "
            f"Received: coefficient={coefficient}"
        )
    if not 0 < coefficient < float("inf"):
        raise ValueError(
            "`coefficient` must be positive and finite. "
            f"Received: coefficient={coefficient}"
        )
    return dataclasses.replace(method, coefficient=coefficient)


def check_loss(name: str | Method, loss: str) -> None:
    """Raises a ValueError if a method and a loss make no sense together."""
    method = get(name)
    losses.get(loss)
    if loss not in method.losses:
        raise ValueError(
            f"`loss` must be one of {', '.join(method.losses)} with the method "
            f"{name}: {method.refusal}. Received: loss={loss}"
        )
