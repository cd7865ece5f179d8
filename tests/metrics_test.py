import numpy as np
import pytest
from scipy import linalg
from scipy import special

from sngan_tf import metrics


def expected_inception_score(logits):
    p = special.softmax(np.asarray(logits, np.float64), axis=1)
    kl = np.sum(p * (np.log(p) - np.log(p.mean(axis=0))), axis=1)
    return np.exp(kl.mean())


def sqrtm_distance(real, fake):
    c1, c2 = np.cov(real, rowvar=False), np.cov(fake, rowvar=False)
    return np.sum((real.mean(0) - fake.mean(0)) ** 2) + np.trace(
        c1 + c2 - 2 * linalg.sqrtm(c1 @ c2).real
    )


def nuclear_norm_distance(real, fake):
    """With C = A^T A, tr((C1 C2)^(1/2)) is the nuclear norm of A1 A2^T.

    Unlike `sqrtm`, it keeps its digits where C has eigenvalues of zero.
    """
    a1, a2 = ((x - x.mean(0)) / np.sqrt(len(x) - 1) for x in (real, fake))
    return (
        np.sum((real.mean(0) - fake.mean(0)) ** 2)
        + np.sum(a1**2)
        + np.sum(a2**2)
        - 2 * np.linalg.norm(a1 @ a2.T, "nuc")
    )


def correlated(count, size):
    """Features with a spread of variances, about as a network's are."""
    mixing = np.random.default_rng(1).normal(size=(size, size))
    return np.random.normal(size=(count, size)) @ mixing


@pytest.mark.parametrize("scale", [0.1, 1, 30])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_inception_score_matches_numpy(scale, dtype):
    logits = (scale * np.random.normal(size=(100, 7))).astype(dtype)
    score, std = metrics.inception_score(logits, splits=1)
    np.testing.assert_allclose(score, expected_inception_score(logits), 1e-6)
    assert std == 0


def test_inception_score_of_equal_logits_is_1():
    score, _ = metrics.inception_score(np.full((20, 5), 3.0), splits=2)
    np.testing.assert_allclose(score, 1, rtol=1e-12)


def test_inception_score_of_sure_balanced_classes_is_their_number():
    logits = np.tile(1e3 * np.eye(6), (10, 1))
    score, _ = metrics.inception_score(logits, splits=10)
    np.testing.assert_allclose(score, 6, rtol=1e-12)


def test_inception_score_is_mean_and_std_over_splits():
    logits = np.random.normal(size=(60, 5))
    scores = [
        expected_inception_score(logits[i : i + 15]) for i in (0, 15, 30, 45)
    ]
    np.testing.assert_allclose(
        metrics.inception_score(logits, splits=4),
        (np.mean(scores), np.std(scores)),
        rtol=1e-6,
    )


@pytest.mark.parametrize("splits", [0, -1, 3])
def test_unequal_splits_are_an_error(splits):
    with pytest.raises(ValueError, match=f"splits={splits}, 10 logits"):
        metrics.inception_score(np.zeros((10, 4)), splits=splits)


@pytest.mark.parametrize(
    ("counts", "size", "oracle"),
    [
        ((200, 300), 16, sqrtm_distance),
        ((200, 300), 16, nuclear_norm_distance),
        # Fewer samples than features: covariances of low rank.
        ((10, 12), 64, nuclear_norm_distance),
        ((40, 300), 64, nuclear_norm_distance),
        ((2, 2), 5, nuclear_norm_distance),
    ],
)
def test_frechet_distance_matches_oracle(counts, size, oracle):
    real, fake = (correlated(count, size) for count in counts)
    fake = 1.3 * fake + 0.5
    np.testing.assert_allclose(
        metrics.frechet_distance(real, fake), oracle(real, fake), rtol=1e-6
    )


@pytest.mark.parametrize("count", [10, 200])
def test_frechet_distance_to_itself_is_0(count):
    features = correlated(count, 32).astype(np.float32)
    distance = metrics.frechet_distance(features, features)
    assert 0 <= distance < 1e-6 * features.var(axis=0).sum()


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
        metrics.frechet_distance(features, fake), expected, rtol=1e-6
    )
    np.testing.assert_allclose(
        metrics.frechet_distance(fake, features), expected, rtol=1e-6
    )
