import numpy as np
import pytest
from scipy import special

from sngan_tf import metrics


def expected_inception_score(logits):
    p = special.softmax(np.asarray(logits, np.float64), axis=1)
    return np.exp(special.rel_entr(p, p.mean(axis=0)).sum(axis=1).mean())


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
