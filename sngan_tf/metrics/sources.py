"""What is asked of pictures, and of what makes, sees and scores them.

Types alone: `data.Pictures`, `gan.sampler.Sampler`, `features.FeatureNetwork`
and `scorer.Scorer` are such, and what has the same does too.
"""

from collections.abc import Iterable
from collections.abc import Iterator
from typing import Protocol

import numpy as np

from sngan_tf import types


class Pictures(Protocol):
    """A data set, as `data.Pictures` documents it."""

    @property
    def images(self) -> np.ndarray: ...

    @property
    def labels(self) -> np.ndarray | None: ...

    @property
    def class_names(self) -> tuple[str, ...]: ...

    @property
    def reference(self) -> str: ...

    def identity(
        self, rows: np.ndarray | None = None
    ) -> Iterator[bytes | memoryview]: ...

    def __len__(self) -> int: ...


class Sampler(Protocol):
    """A generator's pictures, as `gan.sampler.Sampler` draws them."""

    def batches(self, seed: int, count: int) -> Iterable[types.Tensor]: ...

    def labels(self, count: int) -> np.ndarray | None: ...


class Network(Protocol):
    """A frozen network, as `features.FeatureNetwork` documents it."""

    @property
    def kind(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def resize(self) -> str: ...

    def __call__(
        self,
        images: np.ndarray,
        what: str = ...,
        show: bool = ...,
        rows: np.ndarray | None = ...,
    ) -> tuple[np.ndarray, np.ndarray]: ...

    def stream(
        self,
        batches: Iterable[types.Tensor],
        count: int,
        what: str = ...,
        show: bool = ...,
    ) -> tuple[np.ndarray, np.ndarray]: ...


class Scorer(Protocol):
    """What scores a generator, as `scorer.Scorer` does."""

    def generated(self, sampler: Sampler, step: int) -> list[types.Row]: ...
