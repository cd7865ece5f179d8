import numpy as np
import pytest
import samples
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies
from scipy import linalg
from scipy import stats

from sngan_tf import metrics
from sngan_tf.metrics import tfgan


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


def dead(features):
    """Sets a third of the features to one value each."""
    features[:, ::3] = np.arange(len(features[0, ::3]))
    return features


def duplicated(features):
    return np.concatenate([features, features[:, ::2]], axis=1)


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
    real, fake = (samples.correlated(count, size) for count in counts)
    real, fake = real.astype(dtype), (1.3 * fake + 0.5).astype(dtype)
    np.testing.assert_allclose(
        metrics.frechet_distance(real, fake), oracle(real, fake), rtol=1e-6
    )


@pytest.mark.parametrize("counts", [(200, 300), (12, 300), (12, 9)])
@pytest.mark.parametrize("degenerate", [dead, duplicated])
def test_frechet_distance_of_features_that_depend_on_each_other(
    counts, degenerate
):
    real, fake = (degenerate(samples.correlated(count, 24)) for count in counts)
    fake = 2 * fake
    np.testing.assert_allclose(
        metrics.frechet_distance(real, fake),
        nuclear_norm_distance(real, fake),
        rtol=1e-6,
    )


def test_frechet_distance_where_one_set_alone_is_of_low_rank():
    real, fake = samples.correlated(200, 24), dead(samples.correlated(200, 24))
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
    real, fake = np.full((50, 4), 2.0), samples.correlated(60, 4)
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
    features = degenerate(samples.correlated(count, 32)).astype(np.float32)
    distance = metrics.frechet_distance(features, features)
    assert 0 <= distance < 1e-10 * features.var(axis=0).sum()


@pytest.mark.parametrize("counts", [(100, 150), (20, 150), (20, 15)])
def test_frechet_distance_is_symmetric(counts):
    real, fake = (samples.correlated(count, 32) for count in counts)
    np.testing.assert_allclose(
        metrics.frechet_distance(real, fake),
        metrics.frechet_distance(fake, real),
        rtol=1e-9,
    )


@pytest.mark.parametrize("count", [20, 1500])
def test_frechet_distance_heeds_neither_order_nor_rotation(count):
    real, fake = (
        samples.correlated(count, 32),
        1.2 * samples.correlated(count, 32),
    )
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
    features = samples.correlated(100, 8)
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
    real, fake = (
        samples.correlated(200, size),
        1.4 * samples.correlated(260, size) + 0.2,
    )
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


@pytest.mark.parametrize("counts", [(200, 300), (20, 300), (20, 30)])
def test_moments_are_as_good_as_their_features(counts):
    real, fake = (samples.correlated(count, 64) for count in counts)
    known = metrics.Moments.of(real)
    np.testing.assert_allclose(
        known.factor @ known.factor.T,
        np.cov(real, rowvar=False),
        rtol=1e-9,
        atol=1e-9,
    )
    np.testing.assert_allclose(known.mean, real.mean(axis=0))
    for other in (fake, real + 1):
        assert known.frechet_distance(metrics.Moments.of(other)) == (
            metrics.frechet_distance(real, other)
        )


def test_moments_of_features_of_other_sizes_are_refused():
    known = metrics.Moments.of(np.eye(6))
    with pytest.raises(ValueError, match="must be of one size"):
        known.frechet_distance(metrics.Moments.of(np.eye(6)[:, :5]))


def test_intra_class_distance_is_the_mean_over_classes():
    labels = np.repeat([3, 0, 7], [20, 30, 40])
    real, fake = samples.correlated(90, 6), 1.2 * samples.correlated(90, 6)
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
    features, labels = samples.correlated(60, 6), np.arange(60) % 3
    distance = metrics.intra_class_frechet_distance(
        features, labels, features[::-1], labels[::-1]
    )
    assert 0 <= distance < 1e-10


def test_intra_class_distance_sees_classes_that_are_swapped():
    features, labels = samples.two_clusters(60), np.arange(60) // 30
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
    features = samples.correlated(30, 4)
    with pytest.raises(ValueError, match="of class 2$") as raised:
        metrics.intra_class_frechet_distance(
            features, labels["real"], features, labels["fake"]
        )
    message = f"{counts['real']} real and {counts['fake']} fake samples"
    assert message in str(raised.value)
