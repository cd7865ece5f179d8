"""What the metrics share: checked arrays, and sums in float64 by blocks."""

import numpy as np

_BLOCK = 1024


def checked_pair(real_features, fake_features, least):
    real = checked("real_features", real_features, least)
    fake = checked("fake_features", fake_features, least)
    checked_sizes(real, fake)
    return real, fake


def checked_sizes(real, fake):
    if real.shape[1] != fake.shape[1]:
        raise ValueError(
            "`real_features` and `fake_features` must be of one size. "
            f"Received: shapes {real.shape} and {fake.shape}"
        )


def checked(name, values, least):
    values = np.asarray(values)
    if values.ndim != 2 or len(values) < least or not values.shape[1]:
        raise ValueError(
            f"`{name}` must have the shape (n, size), n at least {least}. "
            f"Received: shape {values.shape}"
        )
    if not all(np.isfinite(values[rows]).all() for rows in blocks(values)):
        raise ValueError(f"`{name}` must be finite. Received: nan or infinity")
    return values


def mean(features):
    return np.mean(features, axis=0, dtype=np.float64)


def centered(features, rows, mean):
    return features[rows].astype(np.float64) - mean


def blocks(features, size=_BLOCK):
    for start in range(0, len(features), size):
        yield slice(start, start + size)
