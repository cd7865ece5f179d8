"""Features of real pictures, computed once and kept."""

import dataclasses
import hashlib
import json
import logging
import pathlib

import numpy as np

from sngan_tf import files
from sngan_tf.errors import UserError
from sngan_tf.errors import first_line

_LOGGER = logging.getLogger(__name__)
_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Reference:
    """What is known of a choice of real pictures.

    Attributes:
        features: `(n, d)`, float32.
        logits: `(n, classes)`, float32.
        labels: `(n,)`, int32, or None.
        name: Data set and split.
    """

    features: np.ndarray
    logits: np.ndarray
    labels: np.ndarray | None
    name: str

    def __len__(self):
        return len(self.features)

    def __getitem__(self, rows):
        """Returns the `Reference` of some of the rows."""
        labels = None if self.labels is None else self.labels[rows]
        return Reference(
            self.features[rows], self.logits[rows], labels, self.name
        )


def choose(pictures, count, exact):
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


def load(network, pictures, rows, cache=None):
    """Returns the `Reference` of some pictures.

    Kept in the cache under a hash of all that it depends on: the pictures
    themselves (or what they are made of, if it takes long to read them), and
    the network with its resizing.

    Args:
        network: `features.FeatureNetwork`.
        pictures: `data.Pictures`.
        rows: Numbers of the pictures.
        cache: Folder to keep it in; by default `files.cache_directory()`.
    """
    cache = pathlib.Path(cache or files.cache_directory())
    path = cache / "features" / f"{_key(network, pictures, rows)}.npz"

    def make():
        what = f"{network.kind}, real pictures"
        found = network(pictures.images, what, show=True, rows=rows)
        _write(path, found)
        return found

    found = files.made_once(path, lambda: _read(path, len(rows)), make)
    labels = None if pictures.labels is None else pictures.labels[rows]
    return Reference(*found, labels, pictures.reference)


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
            np.savez(temporary, features=found[0], logits=found[1])
    except OSError as error:
        _LOGGER.warning(
            "%s can't be kept, so it will be made again: %s",
            path,
            first_line(error),
        )


def _read(path, count):
    """Returns what `_write` wrote; None if there is none or it is damaged."""
    if not path.exists():
        return None
    try:
        # The archive has a checksum of each array.
        with np.load(path) as archive:
            found = archive["features"], archive["logits"]
    except Exception as error:  # whatever a damaged file raises
        _LOGGER.warning("%s is damaged, made anew: %s", path, first_line(error))
        return None
    if any(array.ndim != 2 or len(array) != count for array in found):
        _LOGGER.warning("%s is damaged, made anew: other shapes", path)
        return None
    return found
