import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies
from scipy import linalg
from scipy import spatial
from scipy import special
from scipy import stats

from sngan_tf import metrics
from sngan_tf.metrics import tfgan

TWO_SETS = [
    metrics.frechet_distance,
    metrics.kernel_distance,
    metrics.precision_recall,
]


def expected_inception_score(logits):
    p = special.softmax(np.asarray(logits, np.float64), axis=1)
    return np.exp(special.rel_entr(p, p.mean(axis=0)).sum(axis=1).mean())


def sqrtm_distance(real, fake):
    real, fake = real.astype(np.float64), fake.astype(np.float64)
    c1, c2 = np.cov(real, rowvar=False), np.cov(fake, rowvar=False)
    return np.sum((real.mean(0) - fake.mean(0)) ** 2) + np.trace(
        c1 + c2 - 2 * linalg.sqrtm(c1 @ c2).real
    )


def nuclear_norm_distance(real, fake):
    """With C = A^T A, tr((C1 C2)^(1/2)) is the nuclear norm of A1 A2^T.

    Unlike `sqrtm`, it keeps its digits where C has eigenvalues of zero.
    """
    real, fake = real.astype(np.float64), fake.astype(np.float64)
    a1, a2 = ((x - x.mean(0)) / np.sqrt(len(x) - 1) for x in (real, fake))
    return (
        np.sum((real.mean(0) - fake.mean(0)) ** 2)
        + np.sum(a1**2)
        + np.sum(a2**2)
        - 2 * np.linalg.norm(a1 @ a2.T, "nuc")
    )


def block_estimate(real, fake):
    """The unbiased estimate of the squared discrepancy, term by term."""

    def kernel(a, b):
        return (a @ b.T / a.shape[1] + 1) ** 3

    def mean_of_others(a):
        others = ~np.eye(len(a), dtype=bool)
        return kernel(a, a)[others].mean()

    return (
        mean_of_others(real)
        + mean_of_others(fake)
        - 2 * kernel(real, fake).mean()
    )


def expected_kernel_distance(real, fake, count):
    real, fake = real.astype(np.float64), fake.astype(np.float64)
    parts = [
        np.array_split(np.random.default_rng(0).permutation(len(x)), count)
        for x in (real, fake)
    ]
    estimates = [
        block_estimate(real[rows], fake[others]) for rows, others in zip(*parts)
    ]
    error = stats.sem(estimates) if count > 1 else np.nan
    return max(np.mean(estimates), 0), error


def expected_precision_recall(real, fake, neighbours):
    real, fake = real.astype(np.float64), fake.astype(np.float64)

    def covered(samples, manifold):
        among = np.sort(spatial.distance.cdist(manifold, manifold), axis=1)
        distances = spatial.distance.cdist(samples, manifold)
        return np.mean((distances <= among[:, neighbours]).any(axis=1))

    return covered(fake, real), covered(real, fake)


def correlated(count, size):
    """Features with a spread of variances, about as a network's are."""
    mixing = np.random.default_rng(1).normal(size=(size, size))
    return np.random.normal(size=(count, size)) @ mixing


def dead(features):
    """Sets a third of the features to one value each."""
    features[:, ::3] = np.arange(len(features[0, ::3]))
    return features


def duplicated(features):
    return np.concatenate([features, features[:, ::2]], axis=1)


def two_clusters(count):
    features = np.random.normal(size=(count, 2))
    features[count // 2 :] += 1000
    return features


@pytest.mark.parametrize("scale", [0.1, 1, 30])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("classes", [2, 7, 1008])
def test_inception_score_matches_numpy(scale, dtype, classes):
    logits = (scale * np.random.normal(size=(100, classes))).astype(dtype)
    score, std = metrics.inception_score(logits, splits=1)
    np.testing.assert_allclose(score, expected_inception_score(logits), 1e-9)
    assert std == 0


def test_inception_score_of_equal_logits_is_1():
    score, _ = metrics.inception_score(np.full((20, 5), 3.0), splits=2)
    np.testing.assert_allclose(score, 1, rtol=1e-12)


def test_inception_score_of_sure_balanced_classes_is_their_number():
    logits = np.tile(1e3 * np.eye(6), (10, 1))
    score, _ = metrics.inception_score(logits, splits=10)
    np.testing.assert_allclose(score, 6, rtol=1e-12)


def test_inception_score_of_1_in_1008_classes_is_their_number():
    logits = 100 * np.eye(1008, dtype=np.float32)
    score, _ = metrics.inception_score(logits, splits=1)
    np.testing.assert_allclose(score, 1008, rtol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_inception_score_of_extreme_logits(dtype):
    """Also where the probability of a class is 0 throughout."""
    logits = np.full((30, 4), -1e4, dtype)
    logits[np.arange(30), np.arange(30) % 3] = 1e4
    score, std = metrics.inception_score(logits, splits=10)
    np.testing.assert_allclose((score, std), (3, 0), rtol=1e-12, atol=1e-12)


def test_inception_score_is_mean_and_std_over_splits():
    logits = np.random.normal(size=(60, 5))
    scores = [
        expected_inception_score(logits[i : i + 15]) for i in (0, 15, 30, 45)
    ]
    np.testing.assert_allclose(
        metrics.inception_score(logits, splits=4),
        (np.mean(scores), np.std(scores)),
        rtol=1e-9,
    )


@pytest.mark.parametrize("splits", [0, -1, 3, 20])
def test_unequal_splits_are_an_error(splits):
    with pytest.raises(ValueError, match=f"splits={splits}, 10 logits"):
        metrics.inception_score(np.zeros((10, 4)), splits=splits)


@pytest.mark.parametrize("shape", [(10,), (10, 2, 2), (0, 4), (10, 0)])
def test_logits_of_other_shapes_are_an_error(shape):
    with pytest.raises(ValueError, match="`logits` must") as raised:
        metrics.inception_score(np.zeros(shape), splits=1)
    assert f"Received: shape {shape}" in str(raised.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_an_error(value):
    logits = np.zeros((1100, 2), np.float32)
    logits[1050, 1] = value
    with pytest.raises(ValueError, match="`logits` must be finite"):
        metrics.inception_score(logits)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("counts", "size", "oracle"),
    [
        ((200, 300), 16, sqrtm_distance),
        ((200, 300), 16, nuclear_norm_distance),
        ((1300, 2500), 12, sqrtm_distance),
        # Fewer samples than features: covariances of low rank.
        ((10, 12), 64, nuclear_norm_distance),
        ((40, 300), 64, nuclear_norm_distance),
        ((300, 40), 64, nuclear_norm_distance),
        ((64, 65), 64, nuclear_norm_distance),
        ((2, 2), 5, nuclear_norm_distance),
    ],
)
def test_frechet_distance_matches_oracle(counts, size, oracle, dtype):
    real, fake = (correlated(count, size) for count in counts)
    real, fake = real.astype(dtype), (1.3 * fake + 0.5).astype(dtype)
    np.testing.assert_allclose(
        metrics.frechet_distance(real, fake), oracle(real, fake), rtol=1e-6
    )


@pytest.mark.parametrize("counts", [(200, 300), (12, 300), (12, 9)])
@pytest.mark.parametrize("degenerate", [dead, duplicated])
def test_frechet_distance_of_features_that_depend_on_each_other(
    counts, degenerate
):
    real, fake = (degenerate(correlated(count, 24)) for count in counts)
    fake = 2 * fake
    np.testing.assert_allclose(
        metrics.frechet_distance(real, fake),
        nuclear_norm_distance(real, fake),
        rtol=1e-6,
    )


def test_frechet_distance_where_one_set_alone_is_of_low_rank():
    real, fake = correlated(200, 24), dead(correlated(200, 24))
    np.testing.assert_allclose(
        metrics.frechet_distance(real, fake),
        nuclear_norm_distance(real, fake),
        rtol=1e-6,
    )


@pytest.mark.parametrize("counts", [(5, 7), (2, 2)])
def test_frechet_distance_of_constant_features_is_that_of_the_means(counts):
    real, fake = np.full((counts[0], 3), 1.0), np.full((counts[1], 3), 3.0)
    assert metrics.frechet_distance(real, fake) == 12


def test_frechet_distance_of_constant_to_varied_features():
    """|m1 - m2|^2 + tr(C2), as C1 is 0."""
    real, fake = np.full((50, 4), 2.0), correlated(60, 4)
    expected = np.sum((2 - fake.mean(0)) ** 2) + fake.var(0, ddof=1).sum()
    for pair in ((real, fake), (fake, real)):
        np.testing.assert_allclose(metrics.frechet_distance(*pair), expected)


def test_frechet_distance_of_a_single_feature():
    """(m1 - m2)^2 + (s1 - s2)^2."""
    real, fake = np.random.normal(size=(50, 1)), np.random.gamma(2, 3, (70, 1))
    np.testing.assert_allclose(
        metrics.frechet_distance(real, fake),
        (real.mean() - fake.mean()) ** 2
        + (real.std(ddof=1) - fake.std(ddof=1)) ** 2,
        rtol=1e-9,
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("counts", [(1500, 1100), (20, 30)])
def test_frechet_distance_where_means_are_large_beside_the_spread(
    dtype, counts
):
    real, fake = (
        (1e4 + np.random.normal(size=(count, 32))).astype(dtype)
        for count in counts
    )
    np.testing.assert_allclose(
        metrics.frechet_distance(real, fake),
        nuclear_norm_distance(real, fake),
        rtol=1e-6,
    )


@pytest.mark.parametrize("degenerate", [np.asarray, dead, duplicated])
@pytest.mark.parametrize("count", [10, 200, 1500])
def test_frechet_distance_to_itself_is_0(count, degenerate):
    features = degenerate(correlated(count, 32)).astype(np.float32)
    distance = metrics.frechet_distance(features, features)
    assert 0 <= distance < 1e-10 * features.var(axis=0).sum()


@pytest.mark.parametrize("counts", [(100, 150), (20, 150), (20, 15)])
def test_frechet_distance_is_symmetric(counts):
    real, fake = (correlated(count, 32) for count in counts)
    np.testing.assert_allclose(
        metrics.frechet_distance(real, fake),
        metrics.frechet_distance(fake, real),
        rtol=1e-9,
    )


@pytest.mark.parametrize("count", [20, 1500])
def test_frechet_distance_heeds_neither_order_nor_rotation(count):
    real, fake = correlated(count, 32), 1.2 * correlated(count, 32)
    rotation = stats.ortho_group(32, seed=0).rvs()
    distance = metrics.frechet_distance(real, fake)
    for pair in (
        (real[::-1], np.random.permutation(fake)),
        (real @ rotation, fake @ rotation),
    ):
        np.testing.assert_allclose(
            metrics.frechet_distance(*pair), distance, rtol=1e-9
        )


@pytest.mark.parametrize("factor", [1, 3])
def test_frechet_distance_of_shifted_and_stretched_features(factor):
    """|shift|^2 + (factor - 1)^2 tr(C), as factor^2 C commutes with C."""
    features = correlated(100, 8)
    mean, shift = features.mean(axis=0), np.arange(8)
    fake = factor * (features - mean) + mean + shift
    expected = np.sum(shift**2) + (factor - 1) ** 2 * np.sum(
        features.var(axis=0, ddof=1)
    )
    np.testing.assert_allclose(
        metrics.frechet_distance(features, fake), expected, rtol=1e-9
    )


@settings(max_examples=60, deadline=None)
@given(
    counts=strategies.tuples(*[strategies.integers(2, 30)] * 2),
    size=strategies.integers(1, 20),
    ranks=strategies.tuples(*[strategies.integers(0, 20)] * 2),
    scale=strategies.sampled_from([1e-6, 1.0, 1e4]),
    seed=strategies.integers(0, 1000),
)
def test_frechet_distance_of_any_rank(counts, size, ranks, scale, seed):
    rng = np.random.default_rng(seed)
    real, fake = (
        scale * rng.normal(size=(count, rank)) @ rng.normal(size=(rank, size))
        for count, rank in zip(counts, ranks)
    )
    spread = sum(x.var(axis=0, ddof=1).sum() for x in (real, fake))
    distance = metrics.frechet_distance(real, fake)
    assert isinstance(distance, float)
    assert distance >= 0
    np.testing.assert_allclose(
        distance,
        nuclear_norm_distance(real, fake),
        rtol=1e-6,
        atol=1e-7 * spread,
    )
    assert metrics.frechet_distance(real, real) <= 1e-12 * spread


@pytest.mark.parametrize("size", [1, 24])
def test_frechet_distance_agrees_with_tensorflow_gan(size):
    real, fake = correlated(200, size), 1.4 * correlated(260, size) + 0.2
    theirs = tfgan.classifier_metrics()
    np.testing.assert_allclose(
        metrics.frechet_distance(real, fake),
        float(theirs.frechet_classifier_distance_from_activations(real, fake)),
        rtol=1e-6,
    )


def test_frechet_distance_of_small_features_departs_from_tensorflow_gan():
    """Its root drops eigenvalues of C1 C2 below 1e-10: here all of them."""
    features = (2e-3 * np.random.normal(size=(500, 8))).astype(np.float32)
    theirs = tfgan.classifier_metrics()
    off = theirs.frechet_classifier_distance_from_activations(
        features, features
    )
    spread = features.var(axis=0, dtype=np.float64, ddof=1).sum()
    assert off > spread
    assert metrics.frechet_distance(features, features) < 1e-12 * spread


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("counts", "block", "blocks"),
    [
        ((60, 60), 1024, 1),
        ((60, 41), 60, 1),
        ((60, 60), 59, 2),
        ((60, 41), 20, 3),
        ((41, 60), 20, 3),
        ((61, 47), 10, 7),
        ((60, 60), 2, 30),
        # Blocks of 10 would leave single samples of the smaller set.
        ((100, 7), 10, 3),
        ((5, 100), 10, 2),
        ((100, 2), 10, 1),
        ((3, 2), 1, 1),
    ],
)
def test_kernel_distance_matches_numpy(counts, block, blocks, dtype):
    real = correlated(counts[0], 6).astype(dtype)
    fake = (1.2 * correlated(counts[1], 6) + 0.3).astype(dtype)
    np.testing.assert_allclose(
        metrics.kernel_distance(real, fake, block=block),
        expected_kernel_distance(real, fake, blocks),
        rtol=1e-9,
        atol=1e-9,
    )


def test_kernel_distance_takes_blocks_of_1024():
    real, fake = np.random.normal(size=(2, 1025, 3))
    np.testing.assert_allclose(
        metrics.kernel_distance(real, fake + 0.5),
        expected_kernel_distance(real, fake + 0.5, 2),
        rtol=1e-9,
    )
    _, error = metrics.kernel_distance(real[:1024], fake[:1024])
    assert np.isnan(error)


def test_kernel_distance_of_one_block_agrees_with_tensorflow_gan():
    real, fake = correlated(90, 8), correlated(70, 8) + 0.5
    theirs = tfgan.classifier_metrics()
    expected = theirs.kernel_classifier_distance_and_std_from_activations(
        tf.constant(real), tf.constant(fake)
    )
    np.testing.assert_allclose(
        metrics.kernel_distance(real, fake), expected, rtol=1e-9
    )


@pytest.mark.parametrize("seed", range(5))
def test_kernel_distance_of_sets_alike_is_0_within_its_error(seed):
    real, fake = np.random.default_rng(seed).normal(size=(2, 800, 6))
    distance, error = metrics.kernel_distance(real, fake, block=40)
    assert 0 <= distance < 4 * error
    far, error = metrics.kernel_distance(real, fake + 0.5, block=40)
    assert far > 4 * error


def test_kernel_distance_to_itself_is_not_negative():
    """The estimate, which has no bias, is below zero."""
    features = correlated(50, 6)
    assert block_estimate(features, features) < 0
    assert metrics.kernel_distance(features, features)[0] == 0


def test_kernel_distance_of_sorted_classes_is_that_of_mixed_ones():
    """Blocks in the given order would compare one class with another."""
    classes = np.repeat(3 * np.eye(8), 100, axis=0)
    real = classes + np.random.normal(size=classes.shape)
    fake = classes[::-1] + np.random.normal(size=classes.shape)
    distance, error = metrics.kernel_distance(real, fake, block=100)
    assert distance < 4 * error
    unsorted = np.mean(
        [
            block_estimate(*pair)
            for pair in zip(np.split(real, 8), np.split(fake, 8))
        ]
    )
    assert unsorted > 100 * max(distance, error)


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
    real = correlated(counts[0], 5).astype(dtype)
    fake = (0.8 * correlated(counts[1], 5) + 1).astype(dtype)
    expected = expected_precision_recall(real, fake, neighbours)
    assert metrics.precision_recall(real, fake, neighbours) == expected
    assert 0 < min(expected) < max(expected) < 1


def test_precision_recall_where_features_are_far_from_0():
    real, fake = (1e7 + correlated(200, 5) for _ in range(2))
    assert metrics.precision_recall(real, fake) == (
        expected_precision_recall(real, fake, 3)
    )


def test_neighbours_are_3_unless_told():
    real, fake = correlated(60, 5), correlated(60, 5)
    expected = expected_precision_recall(real, fake, 3)
    assert expected != expected_precision_recall(real, fake, 2)
    assert expected != expected_precision_recall(real, fake, 4)
    assert metrics.precision_recall(real, fake) == expected


@pytest.mark.parametrize("copies", [1, 2, 5])
@pytest.mark.parametrize("count", [10, 300])
def test_precision_and_recall_of_a_set_against_itself_are_1(count, copies):
    features = np.repeat(correlated(count, 16), copies, axis=0)
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
    real, fake = correlated(50, 8), correlated(60, 8) + 1e3
    assert metrics.precision_recall(real, fake) == (0, 0)


def test_fake_set_without_one_of_two_clusters_lacks_recall_alone():
    real = two_clusters(800)
    fake = np.random.normal(size=(400, 2))
    precision, recall = metrics.precision_recall(real, fake)
    assert precision > 0.9
    assert 0.45 < recall <= 0.5


def test_fake_set_with_a_cluster_of_its_own_lacks_precision_alone():
    fake = two_clusters(800)
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


def test_intra_class_distance_is_the_mean_over_classes():
    labels = np.repeat([3, 0, 7], [20, 30, 40])
    real, fake = correlated(90, 6), 1.2 * correlated(90, 6)
    fake_labels = np.roll(labels, 25)
    expected = np.mean(
        [
            sqrtm_distance(real[labels == label], fake[fake_labels == label])
            for label in (0, 3, 7)
        ]
    )
    order = np.random.permutation(90)
    for rows in (slice(None), order):
        np.testing.assert_allclose(
            metrics.intra_class_frechet_distance(
                real[rows], list(labels[rows]), fake, fake_labels
            ),
            expected,
            rtol=1e-6,
        )


def test_intra_class_distance_to_itself_is_0():
    features, labels = correlated(60, 6), np.arange(60) % 3
    distance = metrics.intra_class_frechet_distance(
        features, labels, features[::-1], labels[::-1]
    )
    assert 0 <= distance < 1e-10


def test_intra_class_distance_sees_classes_that_are_swapped():
    features, labels = two_clusters(60), np.arange(60) // 30
    assert metrics.frechet_distance(features, features) < 1e-6
    distance = metrics.intra_class_frechet_distance(
        features, labels, features, 1 - labels
    )
    np.testing.assert_allclose(distance, 2 * 1000**2, rtol=0.01)


@pytest.mark.parametrize("remaining", [0, 1])
@pytest.mark.parametrize("lacking", ["real", "fake"])
def test_intra_class_distance_needs_two_samples_of_each_class(
    remaining, lacking
):
    labels = {"real": np.arange(30) % 3, "fake": np.arange(30) % 3}
    few = np.flatnonzero(labels[lacking] == 2)[remaining:]
    labels[lacking][few] = 1
    counts = {"real": 10, "fake": 10, lacking: remaining}
    features = correlated(30, 4)
    with pytest.raises(ValueError, match="of class 2$") as raised:
        metrics.intra_class_frechet_distance(
            features, labels["real"], features, labels["fake"]
        )
    message = f"{counts['real']} real and {counts['fake']} fake samples"
    assert message in str(raised.value)


@pytest.mark.parametrize("metric", TWO_SETS)
@pytest.mark.parametrize("name", ["real_features", "fake_features"])
@pytest.mark.parametrize("shape", [(9,), (9, 2, 2), (1, 2), (0, 2), (9, 0)])
def test_features_of_other_shapes_are_an_error(metric, name, shape):
    sets = {"real_features": np.eye(9), "fake_features": np.eye(9)}
    sets[name] = np.zeros(shape)
    with pytest.raises(ValueError, match=f"`{name}` must") as raised:
        metric(**sets)
    assert f"Received: shape {shape}" in str(raised.value)


@pytest.mark.parametrize("metric", TWO_SETS)
def test_features_of_two_sizes_are_an_error(metric):
    with pytest.raises(ValueError, match=r"shapes \(9, 3\) and \(9, 4\)"):
        metric(np.zeros((9, 3)), np.zeros((9, 4)))


@pytest.mark.parametrize("metric", TWO_SETS)
@pytest.mark.parametrize("name", ["real_features", "fake_features"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_are_an_error(metric, name, value):
    sets = {"real_features": np.ones((1100, 2)), "fake_features": np.eye(9, 2)}
    sets[name][-1, 1] = value
    with pytest.raises(ValueError, match=f"`{name}` must be finite"):
        metric(**sets)


def test_intra_class_distance_refuses_features_that_are_not_finite():
    features, labels = correlated(8, 2), np.arange(8) % 2
    with pytest.raises(ValueError, match="`fake_features` must be finite"):
        metrics.intra_class_frechet_distance(
            features, labels, np.full((8, 2), np.nan), labels
        )
