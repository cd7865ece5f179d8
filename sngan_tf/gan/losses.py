"""Adversarial losses: logits in, float32 scalars to minimise out.

Logits have any shape and are averaged over; they may be of half precision.
"""

import dataclasses
from collections.abc import Callable
from typing import Any
from typing import Self

import keras
from keras import ops

from sngan_tf import types

_serializable = keras.saving.register_keras_serializable("sngan_tf")


@_serializable
@dataclasses.dataclass(frozen=True)
class Loss:
    """A pair of losses.

    One that is `paired` compares each fake image with a real one, so that the
    generator's needs both logits; they are then of one shape.

    A `GAN` with one is saved as Keras saves functions: to be loaded they must
    be registered, as by `keras.saving.register_keras_serializable`.

    Attributes:
        discriminator: `(real_logits, fake_logits) -> scalar`.
        generator: `(fake_logits) -> scalar`, if paired
            `(fake_logits, real_logits) -> scalar`.
        paired: Whether it is.
    """

    discriminator: Callable[[types.Tensor, types.Tensor], types.Tensor]
    generator: Callable[..., types.Tensor]
    paired: bool = False

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        return {
            "discriminator": serialize(self.discriminator),
            "generator": serialize(self.generator),
            "paired": self.paired,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**keras.saving.deserialize_keras_object(config))


@_serializable
def hinge_discriminator_loss(
    real_logits: types.Tensor, fake_logits: types.Tensor
) -> types.Tensor:
    """mean(relu(1 - real)) + mean(relu(1 + fake)) (Eq. 16)."""
    real_logits, fake_logits = _float32(real_logits), _float32(fake_logits)
    return ops.mean(ops.relu(1.0 - real_logits)) + ops.mean(
        ops.relu(1.0 + fake_logits)
    )


@_serializable
def hinge_generator_loss(fake_logits: types.Tensor) -> types.Tensor:
    """-mean(fake) (Eq. 17)."""
    return -ops.mean(_float32(fake_logits))


@_serializable
def non_saturating_discriminator_loss(
    real_logits: types.Tensor, fake_logits: types.Tensor
) -> types.Tensor:
    """-mean(log D(x)) - mean(log(1 - D(G(z)))), D = sigmoid (Eq. 15)."""
    real_logits, fake_logits = _float32(real_logits), _float32(fake_logits)
    return ops.mean(ops.softplus(-real_logits)) + ops.mean(
        ops.softplus(fake_logits)
    )


@_serializable
def non_saturating_generator_loss(fake_logits: types.Tensor) -> types.Tensor:
    """-mean(log D(G(z))), the alternate cost of section 4."""
    return ops.mean(ops.softplus(-_float32(fake_logits)))


@_serializable
def wasserstein_discriminator_loss(
    real_logits: types.Tensor, fake_logits: types.Tensor
) -> types.Tensor:
    """mean(fake) - mean(real) (Eq. 29 without its penalty)."""
    return ops.mean(_float32(fake_logits)) - ops.mean(_float32(real_logits))


@_serializable
def wasserstein_generator_loss(fake_logits: types.Tensor) -> types.Tensor:
    """-mean(fake)."""
    return -ops.mean(_float32(fake_logits))


@_serializable
def relativistic_discriminator_loss(
    real_logits: types.Tensor, fake_logits: types.Tensor
) -> types.Tensor:
    """mean(-log sigmoid(D(x) - D(G(z)))) of pairs (Jolicoeur-Martineau, 2018).

    Real and fake images are paired by their place in the batch, as in R3GAN
    (Huang et al., 2024).
    """
    real_logits, fake_logits = _float32(real_logits), _float32(fake_logits)
    return ops.mean(ops.softplus(fake_logits - real_logits))


@_serializable
def relativistic_generator_loss(
    fake_logits: types.Tensor, real_logits: types.Tensor
) -> types.Tensor:
    """mean(-log sigmoid(D(G(z)) - D(x))), of the same pairs."""
    return relativistic_discriminator_loss(fake_logits, real_logits)


def classification_loss(
    labels: types.Tensor, class_logits: types.Tensor
) -> types.Tensor:
    """Mean cross-entropy of an auxiliary classifier (Table 8).

    Args:
        labels: Integers `(batch,)`.
        class_logits: `(batch, num_classes)`.
    """
    return ops.mean(
        ops.sparse_categorical_crossentropy(
            labels, _float32(class_logits), from_logits=True
        )
    )


LOSSES = {
    "hinge": Loss(hinge_discriminator_loss, hinge_generator_loss),
    "non_saturating": Loss(
        non_saturating_discriminator_loss, non_saturating_generator_loss
    ),
    "wasserstein": Loss(
        wasserstein_discriminator_loss, wasserstein_generator_loss
    ),
    "relativistic": Loss(
        relativistic_discriminator_loss,
        relativistic_generator_loss,
        paired=True,
    ),
}


def get(loss: str | Loss) -> Loss:
    """Returns the `Loss` of a name, or the `Loss` that is given.

    Raises:
        ValueError: If it is neither.
    """
    if isinstance(loss, Loss):
        return loss
    if not isinstance(loss, str) or loss not in LOSSES:
        raise ValueError(
            f"`loss` must be one of {', '.join(LOSSES)}. Received: loss={loss}"
        )
    return LOSSES[loss]


def _float32(logits):
    return ops.cast(logits, "float32")
