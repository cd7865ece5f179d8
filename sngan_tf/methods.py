"""How the discriminator is held in check: the rows of Table 2, as data."""

import dataclasses
from collections.abc import Callable

from sngan_tf.layers import spectral_normalization


@dataclasses.dataclass(frozen=True)
class Method:
    """What a method does to the discriminator.

    Attributes:
        wrapper: Function of a layer, applied to every discriminator layer
            with weights, or None.
    """

    wrapper: Callable | None = None


METHODS = {
    "none": Method(),
    "spectral_norm": Method(
        wrapper=spectral_normalization.SpectralNormalization
    ),
}


def get(name):
    """Returns the `Method` of that name.

    Raises:
        ValueError: If there is none.
    """
    if name not in METHODS:
        raise ValueError(
            f"`method` must be one of {', '.join(METHODS)}. "
            f"Received: method={name}"
        )
    return METHODS[name]
