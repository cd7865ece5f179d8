import numpy as np
import pytest
import tensorflow as tf

from sngan_tf import noise


@pytest.mark.parametrize(
    "draw",
    [
        noise.normal,
        noise.uniform,
        lambda shape, seed: noise.integers(shape, seed, -3, 3),
    ],
)
@pytest.mark.parametrize("keys", [(0,), (7, 1), (2**40, 3, 5)])
def test_compiled_numbers_are_the_plain_ones(draw, keys):
    def numbers(seed):
        return draw((500, 3), noise.fold_in(seed, *keys))

    seed = tf.constant(12, tf.int64)
    compiled = tf.function(numbers, jit_compile=True)(seed)
    np.testing.assert_allclose(numbers(seed), compiled, rtol=1e-4, atol=1e-6)


def test_normal_numbers_are_normal():
    from scipy import stats

    numbers = noise.normal((200_000,), (1, 2)).numpy()
    assert np.isfinite(numbers).all()
    assert stats.kstest(numbers, "norm").pvalue > 0.01
    assert np.corrcoef(numbers[1:], numbers[:-1])[0, 1] < 0.01


def test_uniform_numbers_are_uniform_below_1():
    from scipy import stats

    numbers = noise.uniform((200_000,), (1, 2)).numpy()
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert stats.kstest(numbers, "uniform").pvalue > 0.01


def test_integers_reach_both_ends_equally_often():
    numbers = noise.integers((70_000,), (1, 2), -3, 3).numpy()
    values, counts = np.unique(numbers, return_counts=True)
    np.testing.assert_array_equal(values, np.arange(-3, 4))
    np.testing.assert_allclose(counts, 10_000, rtol=0.05)


def test_seeds_differ_with_every_key_and_its_place():
    keys = [(), (0,), (1,), (0, 1), (1, 0), (0, 0)]
    seeds = {
        tuple(noise.fold_in(s, *key).numpy()) for s in (0, 1) for key in keys
    }
    assert len(seeds) == 2 * len(keys)
