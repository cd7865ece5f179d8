"""Adversarial losses: logits in, float32 scalars to minimise out.

Logits have any shape and are averaged over; they may be of half precision.
"""

import dataclasses
from collections.abc import Callable

from keras import ops


@dataclasses.dataclass(frozen=True)
class Loss:
    """A pair of losses.

    Attributes:
        discriminator: `(real_logits, fake_logits) -> scalar`.
        generator: `(fake_logits) -> scalar`.
    """

    discriminator: Callable
    generator: Callable


def hinge_discriminator_loss(real_logits, fake_logits):
    """mean(relu(1 - real)) + mean(relu(1 + fake)) (Eq. 16)."""
    real_logits, fake_logits = _float32(real_logits), _float32(fake_logits)
    return ops.mean(ops.relu(1.0 - real_logits)) + ops.mean(
        ops.relu(1.0 + fake_logits)
    )


def hinge_generator_loss(fake_logits):
    """-mean(fake) (Eq. 17)."""
    return -ops.mean(_float32(fake_logits))


def non_saturating_discriminator_loss(real_logits, fake_logits):
    """-mean(log D(x)) - mean(log(1 - D(G(z)))), D = sigmoid (Eq. 15)."""
    real_logits, fake_logits = _float32(real_logits), _float32(fake_logits)
    return ops.mean(ops.softplus(-real_logits)) + ops.mean(
        ops.softplus(fake_logits)
    )


def non_saturating_generator_loss(fake_logits):
    """-mean(log D(G(z))), the alternate cost of section 4."""
    return ops.mean(ops.softplus(-_float32(fake_logits)))


def wasserstein_discriminator_loss(real_logits, fake_logits):
    """mean(fake) - mean(real) (Eq. 29 without its penalty)."""
    return ops.mean(_float32(fake_logits)) - ops.mean(_float32(real_logits))


def wasserstein_generator_loss(fake_logits):
    """-mean(fake)."""
    return -ops.mean(_float32(fake_logits))


def classification_loss(labels, class_logits):
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
}


def get(name):
    """Returns the `Loss` of that name.

    Raises:
        ValueError: If there is none.
    """
    if name not in LOSSES:
        raise ValueError(
            f"`loss` must be one of {', '.join(LOSSES)}. Received: loss={name}"
        )
    return LOSSES[name]


def _float32(logits):
    return ops.cast(logits, "float32")
