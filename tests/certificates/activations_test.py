import math

import keras
import numpy as np
import pytest
from keras import ops

from sngan_tf.certificates import activations

GRID = np.linspace(-12, 12, 240_001)
# Formulas of NumPy, which Keras's functions are held against first.
FORMULAS = {
    "celu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "hard_sigmoid": lambda x: np.clip(x + 3, 0, 6) / 6,
    "hard_silu": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "hard_tanh": lambda x: np.clip(x, -1, 1),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.2 * x),
    "linear": lambda x: x,
    "log_sigmoid": lambda x: -np.logaddexp(0, -x),
    "mish": lambda x: x * np.tanh(np.logaddexp(0, x)),
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "selu": lambda x: (
        1.0507009873554805
        * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0)))
    ),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "soft_shrink": lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.5, 0),
    "softplus": lambda x: np.logaddexp(0, x),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "sparse_plus": lambda x: np.where(
        x >= 1, x, np.where(x <= -1, 0, (x + 1) ** 2 / 4)
    ),
    "sparse_sigmoid": lambda x: np.clip((x + 1) / 2, 0, 1),
    "squareplus": lambda x: (x + np.sqrt(x**2 + 4)) / 2,
    "tanh": np.tanh,
    "tanh_shrink": lambda x: x - np.tanh(x),
}


def gelu(x):
    return x * (1 + np.vectorize(math.erf)(x / np.sqrt(2))) / 2


def approximate_gelu(x):
    return x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2


def largest_slope(function):
    # At the middle of two points differences err by the square of their step.
    return np.max(np.abs(np.diff(function(GRID)) / np.diff(GRID)))


@pytest.mark.parametrize("name", FORMULAS)
def test_constants_are_the_largest_slopes(name):
    function = getattr(keras.activations, name)
    some = GRID[::997].astype("float32")
    np.testing.assert_allclose(
        ops.convert_to_numpy(function(some)),
        FORMULAS[name](some),
        rtol=1e-4,
        atol=1e-5,
    )
    assert activations.name_of(function) == name
    slope = largest_slope(FORMULAS[name])
    constant = activations.constant(name)
    assert slope <= constant * (1 + 1e-9)
    # That of squareplus is its limit.
    assert constant <= slope * (1.01 if name == "squareplus" else 1 + 1e-4)


def test_gelus_have_the_largest_slope_of_each():
    some = GRID[::997].astype("float32")
    for formula, constant, flag in (
        (gelu, activations.constant("gelu"), False),
        (approximate_gelu, activations.APPROXIMATE_GELU, True),
    ):
        found = keras.activations.gelu(some, approximate=flag)
        np.testing.assert_allclose(
            ops.convert_to_numpy(found), formula(some), rtol=1e-4, atol=1e-5
        )
        slope = largest_slope(formula)
        assert slope <= constant * (1 + 1e-9)
        assert constant <= slope * (1 + 1e-5)


def test_softmax_is_steepest_where_two_entries_share_all():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(2000, 4))
    steps = rng.normal(size=points.shape) * 1e-2
    points[0], steps[0] = [0, 0, -50, -50], [1e-2, -1e-2, 0, 0]
    both = [
        ops.convert_to_numpy(keras.activations.softmax(x.astype("float32")))
        for x in (points, points + steps)
    ]
    slopes = np.linalg.norm(both[1] - both[0], axis=1)
    slopes = slopes / np.linalg.norm(steps, axis=1)
    constant = activations.constant("softmax")
    assert np.argmax(slopes) == 0
    assert slopes[0] == pytest.approx(constant, rel=1e-3)


def test_unbounded_and_jumping_functions_have_none():
    for name in (
        "exponential",
        "hard_shrink",
        "threshold",
        "glu",
        "sparsemax",
    ):
        assert hasattr(keras.activations, name)
        assert activations.constant(name) is None
    assert activations.name_of(lambda x: x) is None
    assert activations.name_of(None) == "linear"


@pytest.mark.parametrize("every", [False, True])
def test_simple_recurrence_bounds_the_map_of_sequences(every):
    rng = np.random.default_rng(0)
    w, u = rng.normal(size=(3, 2)), rng.normal(size=(3, 3))
    steps = 4
    rows = []
    for t in range(steps):
        powers = [
            np.linalg.matrix_power(u, t - s) @ w if s <= t else 0 * w
            for s in range(steps)
        ]
        rows.append(np.concatenate(powers, axis=1))
    matrix = np.concatenate(rows) if every else rows[-1]
    norms = np.linalg.norm(w, 2), np.linalg.norm(u, 2)
    found = activations.simple_recurrence(*norms, steps, every)
    assert np.linalg.norm(matrix, 2) <= found
    # Of numbers the bound of the last state is the norm itself.
    last = activations.simple_recurrence(2.0, 0.5, steps, every=False)
    assert last == pytest.approx(np.linalg.norm([2, 1, 0.5, 0.25]))
