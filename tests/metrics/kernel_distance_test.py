import numpy as np
import pytest
import samples
import tensorflow as tf
from scipy import stats

from sngan_tf import metrics
from sngan_tf.metrics import tfgan


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
    return np.mean(estimates), error


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
    real = samples.correlated(counts[0], 6).astype(dtype)
    fake = (1.2 * samples.correlated(counts[1], 6) + 0.3).astype(dtype)
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
    real, fake = samples.correlated(90, 8), samples.correlated(70, 8) + 0.5
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
    assert abs(distance) < 4 * error
    far, error = metrics.kernel_distance(real, fake + 0.5, block=40)
    assert far > 4 * error


def test_kernel_distance_has_no_bias():
    """Of sets alike it is below zero as often as above; of one, always."""
    random = np.random.default_rng(0)
    found = np.array(
        [
            metrics.kernel_distance(*random.normal(size=(2, 30, 4)))[0]
            for _ in range(16)
        ]
    )
    assert 4 < np.sum(found < 0) < 12
    assert abs(found.mean()) < 3 * found.std() / np.sqrt(16)
    features = samples.correlated(50, 6)
    np.testing.assert_allclose(
        metrics.kernel_distance(features, features)[0],
        block_estimate(features, features),
        rtol=1e-9,
    )


def test_kernel_distance_of_sorted_classes_is_that_of_mixed_ones():
    """Blocks in the given order would compare one class with another."""
    classes = np.repeat(3 * np.eye(8), 100, axis=0)
    real = classes + np.random.normal(size=classes.shape)
    fake = classes[::-1] + np.random.normal(size=classes.shape)
    distance, error = metrics.kernel_distance(real, fake, block=100)
    assert abs(distance) < 4 * error
    unsorted = np.mean(
        [
            block_estimate(*pair)
            for pair in zip(np.split(real, 8), np.split(fake, 8))
        ]
    )
    assert unsorted > 100 * max(distance, error)
