"""What a score is measured on: how many pictures, against which real ones.

The Frechet distance falls with the number of samples and depends on which real
pictures it is taken to, so that scores of two protocols don't compare.
"""

import dataclasses
import typing
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Protocol:
    """Counts of pictures.

    Attributes:
        name: What records call it.
        held_out: Whether the real pictures are ones that the GAN was not
            trained on.
        num_real: Real pictures that distances are taken to.
        num_fake: Generated pictures that distances are taken from.
        num_scored: Generated pictures of the score.
        splits: Equal parts that the score is the mean of.
        exact: Whether a smaller data set is refused, or else taken whole.
    """

    name: str
    held_out: bool
    num_real: int
    num_fake: int
    num_scored: int
    splits: int
    exact: bool = True


Name = Literal["quick", "paper", "50k"]
NAMES = typing.get_args(Name)


def get(name: Name, quick_samples: int) -> Protocol:
    """Returns a `Protocol`.

    Args:
        name: `"paper"`: the score of 5,000 pictures, 10 times, and distances
            of 5,000 to 10,000 real ones (App. B.1). Which 10,000 the paper
            doesn't state; they are held-out ones here, as CIFAR-10 has that
            many. `"50k"`: 50,000 of each, against the training set.
            `"quick"`: `quick_samples`, against at most as many pictures of
            the training set.
        quick_samples: Number of pictures of `"quick"`.

    Raises:
        ValueError: If there is none of that name.
    """
    protocols = (
        Protocol(
            "quick",
            held_out=False,
            num_real=quick_samples,
            num_fake=quick_samples,
            num_scored=quick_samples,
            splits=1,
            exact=False,
        ),
        Protocol(
            "paper",
            held_out=True,
            num_real=10_000,
            num_fake=5_000,
            num_scored=50_000,
            splits=10,
        ),
        Protocol(
            "50k",
            held_out=False,
            num_real=50_000,
            num_fake=50_000,
            num_scored=50_000,
            splits=10,
        ),
    )
    for protocol in protocols:
        if protocol.name == name:
            return protocol
    raise ValueError(
        f"`evaluation.protocol` must be one of {', '.join(NAMES)}. "
        f"Received: evaluation.protocol={name}"
    )
