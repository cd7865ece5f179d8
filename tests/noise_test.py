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


@pytest.mark.parametrize("shape", [(9,), (9, 5), (9, 2, 3, 4)])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_rows_are_those_of_the_whole(shape, jit_compile):
    seed = noise.fold_in(3, 1)
    whole = noise.uniform(shape, seed)

    @tf.function(jit_compile=jit_compile)
    def rows(first):
        return noise.uniform((4, *shape[1:]), seed, first)

    np.testing.assert_array_equal(whole[5:], rows(tf.constant(5)))


def test_numbers_are_those_of_philox():
    """Salmon et al. (2011), "Parallel Random Numbers", Philox 4x32-10."""

    def philox(counter, key):
        for _ in range(10):
            low, high = counter[0] * 0xD2511F53, counter[2] * 0xCD9E8D57
            counter = [
                (high >> 32) ^ counter[1] ^ key[0],
                high & 0xFFFFFFFF,
                (low >> 32) ^ counter[3] ^ key[1],
                low & 0xFFFFFFFF,
            ]
            key = [
                (key[0] + 0x9E3779B9) & 0xFFFFFFFF,
                (key[1] + 0xBB67AE85) & 0xFFFFFFFF,
            ]
        return counter

    seed, row = (2**40 + 3, 7), 11
    expected = philox([row, 0, 7, 0], [3, 2**8])
    np.testing.assert_array_equal(
        noise.uniform((1, 4), seed, row)[0] * 2.0**24,
        [bits % 2**24 for bits in expected],
    )


def test_replicas_draw_rows_of_what_one_draws(two_replicas):
    drawn = two_replicas.run(lambda: noise.normal((3, 5), (1, 2)))
    together = np.concatenate(two_replicas.experimental_local_results(drawn))
    np.testing.assert_array_equal(together, noise.normal((6, 5), (1, 2)))


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
