import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from keras import ops

from sngan_tf.layers import power_iteration

MATRIX = power_iteration.Matrix()

few_examples = hypothesis.settings(
    derandomize=True, deadline=None, max_examples=20
)
shapes = st.tuples(st.integers(1, 30), st.integers(1, 30))
scales = st.floats(-18, 18).map(lambda exponent: 10.0**exponent)
seeds = st.integers(0, 2**31)


def random_matrix(shape, seed=0, scale=1.0):
    matrix = np.random.default_rng(seed).normal(size=shape)
    return (scale * matrix).astype("float32")


def random_unit(size, seed=1):
    vector = np.random.default_rng(seed).normal(size=size)
    return (vector / np.linalg.norm(vector)).astype("float32")


def true_sigma(w):
    return np.linalg.norm(w.astype("float64"), 2)


def estimate(w, u):
    """The estimate of inference: a fresh v from the given u."""
    w, u = map(ops.array, (w, u))
    return float(power_iteration.measure(w, u, MATRIX).value)


def advance(w, u, steps):
    w, u = map(ops.array, (w, u))
    u, sigma = power_iteration.advance(w, u, steps, MATRIX)
    return np.array(u), float(sigma.value)


@pytest.mark.parametrize(
    ("shape", "output_axes", "expected_index"),
    [
        ((2, 3), (-1,), "oi->io"),
        ((2, 3), (0,), "oi->oi"),
        ((2, 3, 4, 5), (-1,), "hwio->ohwi"),
        ((2, 3, 4, 5), (-2,), "hwoi->ohwi"),
        ((2, 3, 4, 5), (-2, -1), "hwcm->cmhw"),
        ((2, 3, 4), (2, 0), "bic->cbi"),
    ],
)
def test_as_matrix_has_one_row_per_output(shape, output_axes, expected_index):
    kernel = random_matrix(shape)
    d_out = np.prod([shape[axis] for axis in output_axes])
    expected = np.einsum(expected_index, kernel).reshape(d_out, -1)
    matrix = power_iteration.as_matrix(
        ops.convert_to_tensor(kernel), output_axes
    )
    np.testing.assert_array_equal(matrix, expected)


@pytest.mark.parametrize(
    ("shape", "scale"),
    [
        ((20, 6), 1.0),
        ((6, 20), 1.0),
        ((8, 8), 1.0),
        ((1, 10), 1.0),
        ((10, 1), 1.0),
        ((6, 9), 1e-30),
        ((6, 9), 1e30),
    ],
)
def test_settled_sigma_and_u_match_svd(shape, scale):
    w = random_matrix(shape, scale=scale)
    u, sigma = advance(w, random_unit(shape[0]), 300)
    left, values, _ = np.linalg.svd(w.astype("float64"))
    np.testing.assert_allclose(sigma, values[0], rtol=1e-5)
    np.testing.assert_allclose(np.abs(u @ left[:, 0]), 1, rtol=1e-5)
    np.testing.assert_allclose(estimate(w, u), values[0], rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_inverse_times_kernel_has_norm_1(scale):
    w = random_matrix((6, 9), scale=scale)
    start = ops.array(random_unit(6))
    _, sigma = power_iteration.advance(ops.array(w), start, 300, MATRIX)
    np.testing.assert_allclose(
        true_sigma(w * np.array(sigma.inverse)), 1, rtol=1e-5
    )


def test_one_step_is_that_of_algorithm_1():
    w, u = random_matrix((5, 7)), random_unit(5)
    expected_v = w.T @ u / np.linalg.norm(w.T @ u)
    expected_u = w @ expected_v / np.linalg.norm(w @ expected_v)
    new_u, sigma = advance(w, u, 1)
    np.testing.assert_allclose(new_u, expected_u, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(sigma, np.linalg.norm(w @ expected_v), rtol=1e-6)


@pytest.mark.parametrize(
    ("shape", "output_axes"),
    [
        ((3, 5), (-1,)),
        ((2, 3, 4, 5), (-1,)),
        ((2, 3, 4, 5), (-2,)),
        ((2, 3, 4, 5), (-2, -1)),
        ((2, 3, 4), (2, 0)),
    ],
)
def test_kernels_of_any_rank_are_read_as_their_matrix(shape, output_axes):
    kernel = ops.convert_to_tensor(random_matrix(shape))
    matrix = power_iteration.as_matrix(kernel, output_axes)
    u = random_unit(matrix.shape[0])
    linear_map = power_iteration.Matrix(len(shape), output_axes)
    new_u, sigma = power_iteration.advance(kernel, u, 2, linear_map)
    expected_u, expected = advance(matrix, u, 2)
    np.testing.assert_allclose(new_u, expected_u, atol=1e-6)
    np.testing.assert_allclose(sigma.value, expected, rtol=1e-6)
    np.testing.assert_allclose(
        power_iteration.measure(kernel, u, linear_map).value,
        np.linalg.norm(u @ np.array(matrix)),
        rtol=1e-6,
    )


def test_steps_add_up():
    w, u = random_matrix((5, 7)), random_unit(5)
    expected = u
    for _ in range(3):
        expected, expected_sigma = advance(w, expected, 1)
    u, sigma = advance(w, u, 3)
    np.testing.assert_allclose(u, expected, atol=1e-6)
    np.testing.assert_allclose(sigma, expected_sigma, rtol=1e-6)


@pytest.mark.one_backend
@few_examples
@hypothesis.given(shape=shapes, scale=scales, seed=seeds)
def test_steps_approach_the_truth_from_below(shape, scale, seed):
    w = random_matrix(shape, seed, scale)
    u = random_unit(shape[0], seed + 1)
    truth = true_sigma(w)
    before = estimate(w, u)
    for _ in range(5):
        u, during = advance(w, u, 1)
        after = estimate(w, u)
        assert before * (1 - 1e-5) <= during <= after * (1 + 1e-5)
        assert after <= truth * (1 + 1e-5)
        before = after


@pytest.mark.one_backend
@few_examples
@hypothesis.given(shape=shapes, scale=scales, seed=seeds)
def test_warm_start_is_within_five_percent(shape, scale, seed):
    w = random_matrix(shape, seed, scale)
    u = power_iteration.warm_start(
        *map(ops.array, (w, random_unit(shape[0], seed + 1) * 7))
    )
    assert 0.95 * true_sigma(w) <= estimate(w, u)
    np.testing.assert_allclose(np.linalg.norm(u), 1, rtol=1e-5)


@pytest.mark.parametrize("seed", [0, 1])
def test_warm_start_is_within_five_percent_on_a_wide_matrix(seed):
    w = random_matrix((256, 1152), seed)
    u = power_iteration.warm_start(
        *map(ops.array, (w, random_unit(256, seed + 1)))
    )
    assert 0.95 * true_sigma(w) <= estimate(w, u)


def test_zero_matrix_keeps_u():
    u = ops.array(random_unit(4))
    zeros = ops.zeros((4, 3))
    new_u, sigma = advance(zeros, u, 2)
    np.testing.assert_allclose(new_u, u, rtol=1e-6)
    assert sigma == estimate(zeros, u) == 0
    assert float(power_iteration.measure(zeros, u, MATRIX).inverse) == 1


@pytest.mark.parametrize("shape", [(600, 40), (40, 600), (512, 512)])
def test_warm_start_by_steps_and_by_squaring_agree(shape, monkeypatch):
    random = np.random.default_rng(0)
    w = random.normal(size=shape).astype("float32")
    start = random.normal(size=shape[0]).astype("float32")
    settled = []
    for limit in (0, 1000):
        monkeypatch.setattr(power_iteration, "_SQUARED_UP_TO", limit)
        settled.append(power_iteration.warm_start(*map(ops.array, (w, start))))
    np.testing.assert_allclose(*settled, atol=1e-4)
