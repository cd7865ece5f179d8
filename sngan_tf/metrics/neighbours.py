"""The distance of every sample of a set to its k-th nearest neighbour in it.

Float32 products find a few candidates more than k of each sample. Their
distances in float64 are exact, and the bound of what float32 is off by tells
whether another could be nearer; only samples of which one could are compared
with all others in float64.
"""

import numpy as np

from sngan_tf.metrics import arrays
from sngan_tf.metrics import distances

# Candidates beside the k.
_SPARE = 4


def kth_distances(samples, k):
    """Returns the squared distance of each sample to its k-th neighbour.

    Args:
        samples: `distances.Samples`, more than k.
        k: 1 for the nearest of the others.

    Returns:
        `(n,)`, float64.
    """
    found = _Candidates(samples, min(k + _SPARE, len(samples) - 1))
    blocks = [*arrays.blocks(samples)]
    for rows in blocks:
        found.compare_within(rows)
        if found.mostly_open(rows, k):  # Ties everywhere: not by float32.
            return _exact(samples, np.arange(len(samples)), k)
    for i, rows in enumerate(blocks):
        found.compare(rows, blocks[i + 1 :])
    kth = found.exact(k)
    left = np.flatnonzero(found.is_open(slice(None), kth))
    kth[left] = _exact(samples, left, k)
    return kth


class _Candidates:
    """The nearest by float32 of each sample, of those compared so far.

    What is kept of each is half its distance without the norm of the sample,
    |y|^2 / 2 - x.y.
    """

    def __init__(self, samples, count):
        self._samples = samples
        self._halves = (samples.norms / 2).astype(np.float32)
        shape = len(samples), count
        self._values = np.full(shape, np.inf, np.float32)
        self._columns = np.zeros(shape, np.intp)

    def compare_within(self, rows):
        """Compares some rows with one another, before any others."""
        block = self._samples.rows(rows)
        values = self._halves[rows] - block @ block.T
        np.fill_diagonal(values, np.inf)
        kth = min(self._values.shape[1], len(block)) - 1
        limits = np.partition(values, kth, axis=1)[:, kth]
        self._keep(rows, rows, values, limits)

    def compare(self, rows, blocks):
        """Compares some rows with blocks of others, and these with them."""
        block = self._samples.rows(rows)
        halves = self._halves[rows][:, np.newaxis]
        for others in blocks:
            products = block @ self._samples.rows(others).T
            values = self._halves[others] - products
            self._keep(rows, others, values, self._values[rows].max(axis=1))
            np.subtract(halves, products, out=values)
            self._keep(others, rows, values.T, self._values[others].max(axis=1))

    def _keep(self, rows, others, values, limits):
        """Keeps the least of those kept and of the values up to the limits.

        The values, `(len(rows), len(others))`, are in either order of memory.
        """
        near = values <= limits[:, np.newaxis]
        flat = np.flatnonzero(near.ravel(order="K"))
        if near.flags.c_contiguous:
            row, column = np.divmod(flat, near.shape[1])
        else:
            column, row = np.divmod(flat, near.shape[0])
            order = np.argsort(row, kind="stable")
            row, column = row[order], column[order]
        counts = np.bincount(row, minlength=len(values))
        place = np.arange(len(row)) - np.repeat(
            np.cumsum(counts) - counts, counts
        )
        shape = len(values), counts.max()
        new_values = np.full(shape, np.inf, np.float32)
        new_columns = np.zeros(shape, np.intp)
        new_values[row, place] = values[row, column]
        new_columns[row, place] = others.start + column
        all_values = np.hstack([self._values[rows], new_values])
        all_columns = np.hstack([self._columns[rows], new_columns])
        count = self._values.shape[1]
        least = np.argpartition(all_values, count - 1, axis=1)[:, :count]
        self._values[rows] = np.take_along_axis(all_values, least, axis=1)
        self._columns[rows] = np.take_along_axis(all_columns, least, axis=1)

    def exact(self, k):
        """Returns the k-th distance of those kept, in float64."""
        shape = self._columns.shape
        rows = np.repeat(np.arange(shape[0]), shape[1])
        found = distances.of_pairs(
            self._samples, rows, self._samples, self._columns.ravel()
        )
        return np.partition(found.reshape(shape), k - 1, axis=1)[:, k - 1]

    def is_open(self, rows, kth):
        """Returns of which rows one not kept could be nearer than `kth`.

        It is as far as those kept, but for what float32 is off by; and at less
        than `kth` from x, |y|^2 <= 2 |x|^2 + 2 kth.
        """
        samples, norms = self._samples, self._samples.norms[rows]
        if self._values.shape[1] == len(samples) - 1:
            return np.zeros(len(norms), bool)
        off = samples.bound * (3 * norms + 2 * kth) + 2 * samples.floor
        furthest = 2.0 * self._values[rows].max(axis=1) + norms
        return furthest - off < kth

    def mostly_open(self, rows, k):
        """Returns whether most rows will be, by those compared so far."""
        values = np.partition(self._values[rows], k - 1, axis=1)[:, k - 1]
        guess = 2.0 * values + self._samples.norms[rows]
        with np.errstate(invalid="ignore"):  # Fewer than k were compared.
            return np.mean(self.is_open(rows, guess)) > 0.5


def _exact(samples, rows, k):
    """Returns what `kth_distances` does for some rows, in float64."""
    kth = np.empty(len(rows))
    for part in arrays.blocks(rows):
        least = np.empty((len(rows[part]), 0))
        for others in arrays.blocks(samples):
            found = distances.between(samples, rows[part], samples, others)
            found = np.hstack([least, found])
            # The nearest of all is the sample itself.
            least = np.partition(found, min(k, found.shape[1] - 1), axis=1)
            least = least[:, : k + 1]
        kth[part] = least.max(axis=1)
    return kth
