import numpy as np
import pytest
import samples
from scipy import spatial

from sngan_tf import metrics


def expected_precision_recall(real, fake, neighbours):
    real, fake = real.astype(np.float64), fake.astype(np.float64)

    def covered(samples, manifold):
        among = np.sort(spatial.distance.cdist(manifold, manifold), axis=1)
        distances = spatial.distance.cdist(samples, manifold)
        return np.mean((distances <= among[:, neighbours]).any(axis=1))

    return covered(fake, real), covered(real, fake)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("counts", "neighbours"),
    [
        ((60, 60), 1),
        ((60, 45), 3),
        ((45, 60), 5),
        ((12, 9), 3),
        ((300, 520), 3),
        ((1100, 700), 3),
        ((300, 2100), 7),
    ],
)
def test_precision_recall_equals_scipy(counts, neighbours, dtype):
    real = samples.correlated(counts[0], 5).astype(dtype)
    fake = (0.8 * samples.correlated(counts[1], 5) + 1).astype(dtype)
    expected = expected_precision_recall(real, fake, neighbours)
    assert metrics.precision_recall(real, fake, neighbours) == expected
    assert 0 < min(expected) < max(expected) < 1


def test_precision_recall_where_features_are_far_from_0():
    real, fake = (1e7 + samples.correlated(200, 5) for _ in range(2))
    assert metrics.precision_recall(real, fake) == (
        expected_precision_recall(real, fake, 3)
    )


def test_neighbours_are_3_unless_told():
    real, fake = samples.correlated(60, 5), samples.correlated(60, 5)
    expected = expected_precision_recall(real, fake, 3)
    assert expected != expected_precision_recall(real, fake, 2)
    assert expected != expected_precision_recall(real, fake, 4)
    assert metrics.precision_recall(real, fake) == expected


@pytest.mark.parametrize("copies", [1, 2, 5])
@pytest.mark.parametrize("count", [10, 300])
def test_precision_and_recall_of_a_set_against_itself_are_1(count, copies):
    features = np.repeat(samples.correlated(count, 16), copies, axis=0)
    features = (features + 50).astype(np.float32)
    shuffled = np.random.permutation(features)
    assert metrics.precision_recall(features, features) == (1, 1)
    assert metrics.precision_recall(features, shuffled) == (1, 1)


@pytest.mark.parametrize("seed", range(6))
def test_copies_are_covered_where_radii_are_0(seed):
    """Rounding would part equal samples of clusters far from each other."""
    rng = np.random.default_rng(seed)
    fake = rng.normal(size=(301, 64))
    fake[150:] += 1000
    real = np.repeat(fake, 5, axis=0)
    assert metrics.precision_recall(real, rng.permutation(fake)) == (1, 1)


def test_precision_and_recall_of_sets_far_apart_are_0():
    real, fake = samples.correlated(50, 8), samples.correlated(60, 8) + 1e3
    assert metrics.precision_recall(real, fake) == (0, 0)


def test_fake_set_without_one_of_two_clusters_lacks_recall_alone():
    real = samples.two_clusters(800)
    fake = np.random.normal(size=(400, 2))
    precision, recall = metrics.precision_recall(real, fake)
    assert precision > 0.9
    assert 0.45 < recall <= 0.5


def test_fake_set_with_a_cluster_of_its_own_lacks_precision_alone():
    fake = samples.two_clusters(800)
    real = np.random.normal(size=(400, 2))
    precision, recall = metrics.precision_recall(real, fake)
    assert 0.45 < precision <= 0.5
    assert recall > 0.9


@pytest.mark.parametrize(
    ("neighbours", "expected"), [(1, (0.25, 0.5)), (2, (0.25, 1))]
)
def test_precision_recall_by_hand(neighbours, expected):
    """Edges belong to balls: of `real` that of 0 to -1, of `fake` -1 to 1.

    The radii at 1 neighbour are 1 1 1 1 and 2 2 1 1, at 2 neighbours 2 1 1 2
    and 41 43 41 42.
    """
    real = np.array([[0.0], [1], [2], [3]])
    fake = np.array([[-1.0], [-3], [40], [41]])
    assert metrics.precision_recall(real, fake, neighbours) == expected


@pytest.mark.parametrize("neighbours", [0, -2])
def test_neighbours_must_be_positive(neighbours):
    with pytest.raises(ValueError, match=f"neighbours={neighbours}$"):
        metrics.precision_recall(np.zeros((9, 2)), np.zeros((9, 2)), neighbours)


@pytest.mark.parametrize("name", ["real_features", "fake_features"])
def test_precision_recall_needs_more_samples_than_neighbours(name):
    sets = {"real_features": np.eye(6), "fake_features": np.eye(6)}
    metrics.precision_recall(**sets, neighbours=5)
    sets[name] = np.eye(6)[:5]
    with pytest.raises(ValueError, match=f"`{name}`.*at least 6") as raised:
        metrics.precision_recall(**sets, neighbours=5)
    assert "Received: shape (5, 6)" in str(raised.value)
