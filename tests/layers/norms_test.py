"""The mean of two norms, and bounds from above alone, against SVDs."""

import keras
import numpy as np
import operators
import pytest
from keras import layers
from keras import ops

from sngan_tf import SpectralNormalization
from sngan_tf import fold
from sngan_tf.layers import norms

SHAPE = (4, 4, 4)

# Layer, and the einsums from its kernel to d_out x rest and d_in x rest.
TWO = {
    "conv": (layers.Conv2D(6, (3, 2)), "hwio->ohwi", "hwio->ihwo"),
    "strided": (layers.Conv2D(2, 3, strides=2), "hwio->ohwi", "hwio->ihwo"),
    "grouped": (layers.Conv2D(6, 3, groups=2), "hwio->ohwi", "hwio->ihwo"),
    "transpose": (layers.Conv2DTranspose(6, 3), "hwoi->ohwi", "hwoi->ihwo"),
    "depthwise": (
        layers.DepthwiseConv2D(3, depth_multiplier=2),
        "hwcm->cmhw",
        "hwcm->chwm",
    ),
}
ONE = {
    "dense": layers.Dense(6),
    "one_tap": layers.Conv2D(6, 1),
    "depthwise_of_one": layers.DepthwiseConv2D(3),
    "einsum": layers.EinsumDense("abcd,cde->abe", (None, 6)),
}


def called(layer, **arguments):
    """A called wrapper of a random kernel, `u` settled on it."""
    layer = type(layer).from_config(layer.get_config())
    wrapper = SpectralNormalization(layer, **arguments)
    wrapper(np.ones((1, *SHAPE), "float32"))
    for kernel in wrapper.kernels:
        values = np.random.default_rng(0).normal(size=kernel.shape)
        kernel.assign(values)
    wrapper.settle()
    return wrapper


def sigma(wrapper):
    return float(ops.convert_to_numpy(wrapper.spectral_norm()))


def vectors(wrapper):
    return {v.name: v for v in wrapper.non_trainable_variables}


def svd_norm(kernel, subscripts):
    rows = np.einsum(subscripts, kernel)
    axes = 2 if subscripts.endswith("cmhw") else 1  # d_out is both.
    return np.linalg.norm(rows.reshape(np.prod(rows.shape[:axes]), -1), 2)


def value(kernel):
    return ops.convert_to_numpy(kernel)


@pytest.mark.parametrize(
    "name",
    [
        "conv",
        "depthwise",
        *(
            pytest.param(name, marks=pytest.mark.one_backend)
            for name in ("strided", "grouped", "transpose")
        ),
    ],
)
def test_bidirectional_is_the_mean_of_both_matrices(name):
    layer, outputs, inputs = TWO[name]
    wrapper = called(layer, norm="bidirectional", power_iterations=100)
    wrapper(np.ones((1, *SHAPE), "float32"), training=True)
    kernel = value(wrapper.kernels[0]).astype("float64")
    both = svd_norm(kernel, outputs), svd_norm(kernel, inputs)
    assert abs(both[0] - both[1]) > 1e-3 * both[0]
    np.testing.assert_allclose(sigma(wrapper), np.mean(both), rtol=1e-4)
    found = vectors(wrapper)
    assert sorted(found) == ["u", "u_in"]
    rows = np.einsum(inputs, kernel).shape[0]
    assert found["u_in"].shape == (rows,)


@pytest.mark.parametrize("name", ONE)
def test_bidirectional_of_one_matrix_is_its_norm(name):
    one = called(ONE[name], norm="bidirectional")
    assert sorted(vectors(one)) == ["u"]
    expected = sigma(called(ONE[name]))
    np.testing.assert_allclose(sigma(one), expected, rtol=1e-4)


def test_each_training_call_advances_both_vectors_once():
    wrapper = called(layers.Conv2D(6, 3), norm="bidirectional")
    kernel = value(wrapper.kernels[0])
    expected = {}
    for name, subscripts in (("u", "hwio->ohwi"), ("u_in", "hwio->ihwo")):
        u = vectors(wrapper)[name]
        start = np.random.default_rng(1).normal(size=u.shape)
        start /= np.linalg.norm(start)
        u.assign(start)
        rows = np.einsum(subscripts, kernel)
        rows = rows.reshape(len(rows), -1)
        after = rows @ (rows.T @ start)
        expected[name] = after / np.linalg.norm(after)
    x = np.ones((1, *SHAPE), "float32")
    wrapper(x)
    wrapper(x, training=True)
    for name, u in vectors(wrapper).items():
        np.testing.assert_allclose(
            value(u), expected[name], rtol=1e-4, atol=1e-5
        )


def test_gradient_of_bidirectional_matches_finite_differences():
    layer = layers.Conv2D(2, 2, use_bias=False)
    wrapper = called(layer, norm="bidirectional", power_iterations=50)
    parts = operators.of_each_entry(wrapper.layer, wrapper.kernels[0], SHAPE)
    x = np.random.default_rng(3).normal(size=(2, *SHAPE)).astype("float32")

    def loss(kernel):
        a = np.tensordot(kernel, parts, axes=kernel.ndim)
        both = [svd_norm(kernel, s) for s in ("hwio->ohwi", "hwio->ihwo")]
        return np.sum(np.sin(x.reshape(2, -1) @ a / np.mean(both)))

    np.testing.assert_allclose(
        operators.gradient(wrapper, x, training=True),
        operators.differences(loss, value(wrapper.kernels[0])),
        rtol=2e-3,
        atol=2e-3,
    )


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e30])
def test_bidirectional_of_extreme_and_zero_kernels(scale):
    wrapper = called(layers.Conv2D(6, 3, use_bias=False), norm="bidirectional")
    x = np.ones((1, *SHAPE), "float32")
    expected = value(wrapper(x)) * (scale > 0)
    (kernel,) = wrapper.kernels
    kernel.assign(value(kernel) * scale)
    np.testing.assert_allclose(
        value(wrapper(x)), expected, rtol=1e-4, atol=1e-5
    )
    gradient = operators.gradient(wrapper, x, training=True)
    assert np.all(np.isfinite(gradient))


def test_kernel_that_one_vector_misses_has_half_the_other_norm():
    wrapper = called(layers.Conv2D(2, 2, use_bias=False), norm="bidirectional")
    (kernel,) = wrapper.kernels
    values = np.zeros(kernel.shape)
    values[..., 0] = 1e-20 * value(kernel)[..., 0]
    kernel.assign(values)
    vectors(wrapper)["u"].assign([0.0, 1.0])
    u_in = value(vectors(wrapper)["u_in"])
    rows = np.einsum("hwio->ihwo", values).reshape(4, -1)
    np.testing.assert_allclose(
        sigma(wrapper), np.linalg.norm(rows.T @ u_in) / 2, rtol=1e-4
    )


each_norm = pytest.mark.parametrize("norm", norms.NORMS)


@each_norm
def test_at_most_leaves_kernels_below_the_bound_alone(norm):
    wrapper = called(layers.Conv2D(3, 3), norm=norm, bound=1e3, at_most=True)
    (kernel,) = wrapper.kernels
    np.testing.assert_array_equal(
        value(wrapper.normalized_kernel()), value(kernel)
    )
    x = np.ones((2, *SHAPE), "float32")
    expected = operators.gradient(wrapper.layer, x)
    np.testing.assert_allclose(
        operators.gradient(wrapper, x, training=True), expected, rtol=1e-6
    )
    kernel.assign(np.zeros(kernel.shape))
    np.testing.assert_array_equal(
        operators.gradient(wrapper, x, training=True),
        operators.gradient(wrapper.layer, x),
    )
    np.testing.assert_array_equal(value(wrapper.normalized_kernel()), 0)


@each_norm
def test_at_most_divides_kernels_above_the_bound(norm):
    x = np.ones((2, *SHAPE), "float32")
    soft, hard = [
        called(layers.Conv2D(3, 3), norm=norm, bound=0.7, at_most=at_most)
        for at_most in (True, False)
    ]
    hard.set_weights(soft.get_weights())
    assert sigma(soft) > 0.7
    np.testing.assert_allclose(
        value(soft.normalized_kernel()),
        value(hard.normalized_kernel()),
        rtol=1e-6,
    )
    np.testing.assert_allclose(
        operators.gradient(soft, x, training=True),
        operators.gradient(hard, x, training=True),
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("bound", [0.7, 1e3])
def test_at_most_under_mixed_precision(policy, bound):
    layer = layers.Dense(3, dtype=policy)
    wrapper = called(layer, bound=bound, at_most=True)
    x = np.ones((2, *SHAPE), "float32")
    outputs = wrapper(x, training=True)
    assert keras.backend.standardize_dtype(outputs.dtype) == policy[6:]
    w = value(wrapper.kernels[0])
    expected = w / max(1, np.linalg.norm(w, 2) / bound)
    normalized = wrapper.normalized_kernel()
    assert keras.backend.standardize_dtype(normalized.dtype) == "float32"
    np.testing.assert_allclose(value(normalized), expected, rtol=1e-4)


@pytest.mark.slow
def test_at_most_is_kept_by_files_clones_and_folding(tmp_path):
    model = keras.Sequential(
        [
            keras.Input(SHAPE),
            SpectralNormalization(
                layers.Conv2D(3, 3), norm="bidirectional", bound=5, at_most=True
            ),
            layers.Flatten(),
            SpectralNormalization(layers.Dense(2), bound=0.1, at_most=True),
        ]
    )
    x = np.random.default_rng(3).normal(size=(2, *SHAPE)).astype("float32")
    expected = value(model(x))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    folded = fold(model)
    for other in (loaded, clone, folded):
        np.testing.assert_allclose(
            value(other(x)), expected, rtol=1e-5, atol=1e-6
        )
    np.testing.assert_array_equal(
        value(folded.layers[0].kernel), value(model.layers[0].kernels[0])
    )
    assert loaded.layers[0].at_most
    assert len(vectors(loaded.layers[0])) == 2


def test_at_most_with_a_learned_scale_is_an_error():
    with pytest.raises(ValueError, match=r"`at_most`.*at_most=True"):
        SpectralNormalization(layers.Dense(2), at_most=True, learn_scale=True)


def test_unknown_norm_is_an_error_that_names_the_known():
    with pytest.raises(ValueError, match="'matrix', 'conv', 'bidirectional'"):
        SpectralNormalization(layers.Dense(2), norm="l2")
