import numpy as np
import pytest
import samples
from scipy import spatial

from sngan_tf import metrics
from sngan_tf.metrics import distances


def expected_precision_recall(real, fake, neighbours):
    real, fake = real.astype(np.float64), fake.astype(np.float64)

    def covered(samples, manifold):
        among = np.sort(spatial.distance.cdist(manifold, manifold), axis=1)
        distances = spatial.distance.cdist(samples, manifold)
        return np.mean((distances <= among[:, neighbours]).any(axis=1))

    return covered(fake, real), covered(real, fake)


def lattice(count):
    """Features of which most distances are equal to others."""
    return np.random.randint(0, 3, (count, 6))


def simplex(count):
    return np.eye(count, 60) * 3


def far_from_0(count):
    """The spread is that of float32's rounding at the mean."""
    return (1e6 + np.random.normal(size=(count, 8))).astype(np.float32)


def with_outlier(count):
    features = np.random.normal(size=(count, 16))
    features[-1] = 1e8
    return features


def tiny_cluster(count):
    """A half is so near the mean that float32 has no number for its norms."""
    features = 1e-24 * np.random.normal(size=(count, 16))
    others = np.random.randint(1, 99, (count // 4, 16))
    features[: 2 * len(others)] = np.concatenate([others, -others])
    return features


def falling(count):
    """Each sample is nearer to those before it than all of these."""
    return (
        np.random.normal(size=(count, 16))
        * np.geomspace(1, 1e-3, count)[:, np.newaxis]
    )


def scaled(scale, dtype):
    return lambda count: (scale * samples.correlated(count, 16)).astype(dtype)


def plain(count):
    return samples.correlated(count, 16)


@pytest.mark.parametrize("counts", [(700, 300), (1100, 1030)])
@pytest.mark.parametrize(
    "make",
    [
        lattice,
        simplex,
        far_from_0,
        with_outlier,
        tiny_cluster,
        falling,
        samples.two_clusters,
        scaled(1e-30, np.float32),
        scaled(1e-44, np.float32),
        scaled(1e30, np.float32),
        scaled(1e37, np.float32),
        scaled(1e100, np.float64),
        scaled(1, np.float16),
        scaled(1, np.longdouble),
    ],
    ids=[
        "lattice",
        "simplex",
        "far from 0",
        "outlier",
        "tiny cluster",
        "falling",
        "clusters",
        "tiny",
        "below float32's least",
        "huge",
        "near float32's most",
        "beyond float32",
        "float16",
        "longdouble",
    ],
)
def test_precision_recall_where_float32_products_do_not_do(make, counts):
    real, fake = map(make, counts)
    assert metrics.precision_recall(real, fake) == (
        expected_precision_recall(real, fake, 3)
    )


@pytest.mark.parametrize("repeats", [2, 4, 40])
def test_precision_recall_of_repeated_samples(repeats):
    real, fake = samples.correlated(1200, 5), samples.correlated(1200, 5)
    fake = np.concatenate([fake[: 1200 // repeats]] * repeats)
    fake[::7] = real[::7]
    for pair in ((real, fake), (fake, real)):
        expected = expected_precision_recall(*pair, 3)
        assert metrics.precision_recall(*pair) == expected
    assert max(expected) > 0.1


def test_samples_in_the_middle_are_in_many_balls():
    real, fake = np.random.normal(size=(1100, 64)), np.zeros((1100, 64))
    fake[:, 0] = np.linspace(0, 1e-3, 1100)
    expected = expected_precision_recall(real, fake, 3)
    assert metrics.precision_recall(real, fake) == expected
    assert expected[0] == 1


@pytest.mark.parametrize("off", [1e-7, 1e-10])
def test_samples_just_in_and_just_out_of_balls_are_told_apart(off):
    """In single precision neither their features nor distances would be."""
    real = np.random.normal(size=(500, 32))
    radii = np.sort(spatial.distance.cdist(real, real), axis=1)[:, 3]
    ways = np.random.normal(size=real.shape)
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    # Of the outermost, which other balls are far from.
    outer = np.argsort(np.linalg.norm(real, axis=1))[-100:]
    ways[outer] = real[outer]
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    reach = radii * (1 + off * np.resize([-1, 1], 500))
    fake = (real + ways * reach[:, np.newaxis])[outer]
    expected = expected_precision_recall(real, fake, 3)
    assert 0.4 < expected[0] < 0.6
    assert metrics.precision_recall(real, fake) == expected


@pytest.fixture
def exact(monkeypatch):
    """Returns the numbers of distances that are computed in float64."""
    counts = {"pairs": 0, "blocks": 0}
    of_pairs, between = distances.of_pairs, distances.between

    def pairs(a, rows, b, columns):
        counts["pairs"] += len(rows)
        return of_pairs(a, rows, b, columns)

    def blocks(*sides):
        found = between(*sides)
        counts["blocks"] += found.size
        return found

    monkeypatch.setattr(distances, "of_pairs", pairs)
    monkeypatch.setattr(distances, "between", blocks)
    return counts


def test_few_distances_are_computed_in_float64(exact):
    real, fake = (np.random.normal(size=(1500, 64)) for _ in range(2))
    metrics.precision_recall(real, fake)
    assert exact["blocks"] == 0
    # Candidates for the radii, of some four million distances in all.
    assert 2 * 3 * 1500 <= exact["pairs"] < 2 * 8 * 1500


def copies(count):
    return np.repeat(samples.correlated(count // 50, 16), 50, axis=0)


@pytest.mark.parametrize("make", [lattice, copies])
def test_with_ties_all_over_no_distance_is_computed_more_than_once(exact, make):
    real, fake = make(1500), make(1400)
    fake[:700] = real[::2][:700]
    metrics.precision_recall(real, fake)
    once = 1500**2 + 1400**2 + 1500 * 1400
    assert once / 2 < exact["blocks"] <= once
    assert exact["pairs"] < 0.01 * once


def test_manifold_is_as_good_as_its_features():
    real, fake = plain(300), 0.9 * plain(200)
    for neighbours in (1, 3):
        known = metrics.Manifold.of(real, neighbours)
        distances = spatial.distance.cdist(real, real)
        np.testing.assert_allclose(
            known.radii, np.sort(distances)[:, neighbours] ** 2, rtol=1e-9
        )
        other = metrics.Manifold.of(fake, neighbours)
        expected = metrics.precision_recall(real, fake, neighbours)
        for _ in range(2):
            assert known.precision_recall(other) == expected
            assert other.precision_recall(known) == expected[::-1]


def test_manifolds_of_features_of_other_sizes_are_refused():
    known = metrics.Manifold.of(np.eye(6))
    with pytest.raises(ValueError, match="must be of one size.*6.*5"):
        known.precision_recall(metrics.Manifold.of(np.eye(6)[:, :5]))


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
