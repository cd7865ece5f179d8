"""Features of real pictures, with their statistics, computed once and kept."""

import contextlib
import dataclasses
import functools
import hashlib
import json
import logging
import pathlib

import numpy as np

from sngan_tf import files
from sngan_tf import metrics
from sngan_tf import types
from sngan_tf.errors import UserError
from sngan_tf.errors import first_line
from sngan_tf.metrics import sources

_LOGGER = logging.getLogger(__name__)
_VERSION = 1
_FEATURES = ("features", "logits")
_RADII = f"radii_{metrics.NEIGHBOURS}"
_STATISTICS = ("mean", "factor", _RADII)


@dataclasses.dataclass(frozen=True)
class Reference:
    """What is known of a choice of real pictures.

    Attributes:
        features: `(n, d)`, float32.
        logits: `(n, classes)`, float32.
        labels: `(n,)`, int32, or None.
        name: Data set and split.
        moments: `metrics.Moments` of the features, made when first asked for.
        manifold: Their `metrics.Manifold`, likewise.
    """

    features: np.ndarray
    logits: np.ndarray
    labels: np.ndarray | None
    name: str

    @functools.cached_property
    def moments(self) -> metrics.Moments:
        return metrics.Moments.of(self.features)

    @functools.cached_property
    def manifold(self) -> metrics.Manifold:
        return metrics.Manifold.of(self.features)

    def __len__(self):
        return len(self.features)

    def __getitem__(self, rows):
        """Returns the `Reference` of some of the rows.

        A slice of all is the same one, with what is known of it.
        """
        everything = (0, len(self), 1)
        if isinstance(rows, slice) and rows.indices(len(self)) == everything:
            return self
        labels = None if self.labels is None else self.labels[rows]
        return Reference(
            self.features[rows], self.logits[rows], labels, self.name
        )


def choose(
    pictures: sources.Pictures, count: int, exact: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Returns row numbers of `count` pictures, then those of all others.

    A fixed random choice, as pictures are often sorted by class.

    Args:
        pictures: `data.Pictures`.
        count: How many to choose.
        exact: Whether too few pictures are an error; else all are chosen.

    Returns:
        Two arrays, each in random order.

    Raises:
        UserError: If there are too few.
    """
    if exact and len(pictures) < count:
        raise UserError(
            f"`evaluation.protocol` needs {count:,} real pictures. Received: "
            f"{len(pictures):,} in {pictures.reference}"
        )
    order = np.random.default_rng(0).permutation(len(pictures))
    return order[:count], order[count:]


def load(
    network: sources.Network,
    pictures: sources.Pictures,
    rows: np.ndarray,
    cache: types.Path | None = None,
    statistics: bool = True,
) -> Reference:
    """Returns the `Reference` of some pictures.

    Kept in the cache under a hash of all that it depends on: the pictures
    themselves (or what they are made of, if it takes long to read them), and
    the network with its resizing.

    Args:
        network: `features.FeatureNetwork`.
        pictures: `data.Pictures`.
        rows: Numbers of the pictures, more than `metrics.NEIGHBOURS`.
        cache: Folder to keep it in; by default `files.cache_directory()`.
        statistics: Whether to keep moments and manifold too, or leave them to
            be made of what is compared.
    """
    cache = pathlib.Path(cache or files.cache_directory())
    path = cache / "features" / f"{_key(network, pictures, rows)}.npz"
    names = _FEATURES + (_STATISTICS if statistics else ())

    def read():
        with contextlib.suppress(ValueError):
            found = _read(path, len(rows))
            return found if found.keys() >= {*names} else None

    def make():
        found = {}
        try:
            found = _read(path, len(rows))
        except ValueError as error:
            _LOGGER.warning("%s is damaged, made anew: %s", path, error)
        if not found:
            what = f"{network.kind}, real pictures"
            outputs = network(pictures.images, what, show=True, rows=rows)
            found = dict(zip(_FEATURES, outputs))
        if statistics:
            found = _with_statistics(found)
        _write(path, found)
        return found

    found = files.made_once(path, read, make)
    labels = None if pictures.labels is None else pictures.labels[rows]
    reference = Reference(
        found["features"], found["logits"], labels, pictures.reference
    )
    if statistics:
        # In the place of what these properties would make.
        vars(reference).update(
            moments=metrics.Moments(found["mean"], found["factor"]),
            manifold=metrics.Manifold(reference.features, found[_RADII]),
        )
    return reference


def _with_statistics(found):
    moments = metrics.Moments.of(found["features"])
    manifold = metrics.Manifold.of(found["features"])
    made = moments.mean, moments.factor, manifold.radii
    return {**found, **dict(zip(_STATISTICS, made))}


def _key(network, pictures, rows):
    # The pictures' identity stands for data set, split, choice and size.
    about = [_VERSION, network.name, network.resize, len(rows)]
    digest = hashlib.sha256(json.dumps(about).encode())
    digest.update(str(pictures.images.shape[1:]).encode())
    for part in pictures.identity(rows):
        digest.update(part)
    return digest.hexdigest()[:24]


def _write(path, found):
    try:
        with files.replacing(path) as temporary:
            np.savez(temporary, **found)
    except OSError as error:
        _LOGGER.warning(
            "%s can't be kept, so it will be made again: %s",
            path,
            first_line(error),
        )


def _read(path, count):
    """Returns the arrays that `_write` wrote, none if there is no file.

    Raises:
        ValueError: If it is damaged; says how.
    """
    if not path.exists():
        return {}
    try:
        # The archive has a checksum of each array.
        with np.load(path) as archive:
            found = dict(archive)
    except Exception as error:  # whatever a damaged file raises
        raise ValueError(first_line(error)) from error
    if not _fit(found, count):
        raise ValueError("other arrays")
    return found


def _fit(found, count):
    """Returns whether arrays are of one another's shapes, features among them.

    Statistics may be lacking, as where the features alone were kept.
    """
    shapes = {name: array.shape for name, array in found.items()}
    size, classes, rank = (
        (shapes.get(name) or (None,))[-1]
        for name in ("features", "logits", "factor")
    )
    expected = {
        "features": (count, size),
        "logits": (count, classes),
        "mean": (size,),
        "factor": (size, rank),
        _RADII: (count,),
    }
    return shapes.keys() >= {*_FEATURES} and shapes.items() <= expected.items()
