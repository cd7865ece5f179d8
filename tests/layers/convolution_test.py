"""`norm="conv"` against the matrix of the layer that really runs."""

import keras
import numpy as np
import operators
import pytest
from keras import layers
from keras import ops

from sngan_tf import SpectralNormalization
from sngan_tf import fold
from sngan_tf import wrap
from sngan_tf.layers import convolution
from sngan_tf.layers import power_iteration
from sngan_tf.layers import spectral_estimates
from sngan_tf.layers import spectral_norms

SAME = {"padding": "same"}
SAME_2 = {**SAME, "strides": 2}

# Layer and the shape of one example, odd and unequal sizes preferred.
CASES = {
    "1d": (layers.Conv1D(4, 3), (9, 3)),
    "1d_causal": (
        layers.Conv1D(4, 3, padding="causal", dilation_rate=2),
        (9, 3),
    ),
    "1d_causal_strided": (
        layers.Conv1D(4, 3, padding="causal", strides=2),
        (8, 3),
    ),
    "2d": (layers.Conv2D(4, (3, 2)), (6, 5, 3)),
    "2d_same": (layers.Conv2D(4, 3, **SAME), (6, 5, 3)),
    "2d_same_strided": (layers.Conv2D(4, 3, **SAME_2), (6, 5, 3)),
    "2d_same_strided_even": (layers.Conv2D(4, 4, **SAME_2), (8, 7, 3)),
    "2d_strided_past_kernel": (layers.Conv2D(4, 2, strides=3), (7, 6, 3)),
    "2d_dilated": (layers.Conv2D(4, 3, dilation_rate=(1, 2)), (6, 7, 3)),
    "2d_same_dilated": (
        layers.Conv2D(4, 3, dilation_rate=2, **SAME),
        (7, 6, 3),
    ),
    "2d_grouped": (layers.Conv2D(6, 3, groups=2, **SAME_2), (6, 5, 4)),
    "2d_channels_first": (
        layers.Conv2D(4, 3, data_format="channels_first", **SAME),
        (3, 6, 5),
    ),
    "2d_kernel_past_input": (layers.Conv2D(4, 5, **SAME), (2, 1, 3)),
    "3d": (layers.Conv3D(2, 2, **SAME), (4, 3, 4, 2)),
    "transpose_1d": (layers.Conv1DTranspose(4, 3, **SAME_2), (5, 3)),
    "transpose_2d": (layers.Conv2DTranspose(4, (3, 2)), (4, 3, 3)),
    "transpose_2d_same": (layers.Conv2DTranspose(4, 3, **SAME_2), (4, 3, 3)),
    "transpose_2d_even": (layers.Conv2DTranspose(4, 4, **SAME_2), (4, 3, 3)),
    "transpose_2d_output_padding": (
        layers.Conv2DTranspose(4, 3, strides=2, output_padding=1),
        (4, 3, 3),
    ),
    "transpose_2d_same_output_padding": (
        layers.Conv2DTranspose(4, 3, output_padding=0, **SAME_2),
        (4, 3, 3),
    ),
    "transpose_2d_dilated": (
        layers.Conv2DTranspose(4, 3, dilation_rate=2, **SAME),
        (4, 3, 3),
    ),
    "transpose_2d_strided_past_kernel": (
        layers.Conv2DTranspose(4, 2, strides=3),
        (4, 3, 3),
    ),
    "transpose_2d_channels_first": (
        layers.Conv2DTranspose(4, 3, data_format="channels_first", **SAME_2),
        (3, 4, 5),
    ),
    "transpose_3d": (layers.Conv3DTranspose(2, 3, **SAME_2), (2, 3, 2, 3)),
    "depthwise_1d": (
        layers.DepthwiseConv1D(3, depth_multiplier=2, **SAME),
        (8, 4),
    ),
    "depthwise_2d": (
        layers.DepthwiseConv2D(3, depth_multiplier=2, **SAME_2),
        (6, 5, 3),
    ),
    "depthwise_2d_dilated": (
        layers.DepthwiseConv2D(3, dilation_rate=2),
        (6, 6, 3),
    ),
}
# The others differ in the map alone.
SETTLED = (
    "1d_causal_strided",
    "2d_same_strided_even",
    "2d_grouped",
    "2d_channels_first",
    "3d",
    "transpose_2d_output_padding",
    "depthwise_2d",
)
# JAX compiles each.
each_case = pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name, marks=[] if name in SETTLED else [pytest.mark.one_backend]
        )
        for name in CASES
    ],
)


def built(name):
    """A built layer of random kernel and bias, and its example's shape."""
    layer, shape = CASES[name]
    layer = type(layer).from_config(layer.get_config())
    layer.build((None, *shape))
    rng = np.random.default_rng(0)
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))
    return layer, shape


def wrapped(name, **arguments):
    layer, shape = built(name)
    wrapper = SpectralNormalization(layer, norm="conv", **arguments)
    wrapper.build((None, *shape))
    return wrapper, shape


def sigmas(wrapper):
    """The current estimate for each kernel."""
    found = wrapper.spectral_norm()
    found = found if isinstance(found, list) else [found]
    return np.array(list(map(ops.convert_to_numpy, found)))


def vector(wrapper):
    (u,) = [v for v in wrapper.non_trainable_variables if v.name == "u"]
    return u


@each_case
def test_map_and_its_transpose_are_those_of_the_layer(name):
    layer, shape = built(name)
    first = layer.data_format == "channels_first"

    def rows(x):
        x = np.moveaxis(x, 0, -1) if first else x
        return ops.convert_to_tensor(x.reshape(-1, x.shape[-1]))

    rng = np.random.default_rng(1)
    x = rng.normal(size=shape).astype("float32")
    expected = ops.convert_to_numpy(layer(x[None]) - layer(0 * x[None]))[0]
    y = rng.normal(size=expected.shape).astype("float32")
    found = convolution.of_kernel(layer, layer.kernel)
    matrices = found.matrices(ops.convert_to_tensor(layer.kernel))
    forward = ops.convert_to_numpy(found.forward(matrices, rows(x)))
    np.testing.assert_allclose(forward, rows(expected), atol=1e-4)
    back = ops.convert_to_numpy(found.adjoint(matrices, rows(y)))
    expected = operators.matrix(layer, shape) @ y.ravel()
    np.testing.assert_allclose(
        back, rows(expected.reshape(shape)), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(
    "name",
    [
        "2d_channels_first",
        "transpose_2d_output_padding",
        *(
            pytest.param(name, marks=pytest.mark.one_backend)
            for name in SETTLED
            if name not in ("2d_channels_first", "transpose_2d_output_padding")
        ),
    ],
)
def test_sigma_is_the_norm_of_the_layer(name):
    """Settled at build, already; its picture is shaped as the outputs."""
    wrapper, shape = wrapped(name)
    truth = operators.norm(wrapper.layer, shape)
    np.testing.assert_allclose(sigmas(wrapper), truth, rtol=1e-3)
    outputs = wrapper.compute_output_shape((None, *shape))[1:]
    if wrapper.layer.data_format == "channels_first":
        outputs = (*outputs[1:], outputs[0])
    assert vector(wrapper).shape == tuple(outputs)


@pytest.mark.parametrize("kernel_size", [1, (1, 1)])
def test_kernel_of_one_tap_is_its_matrix(kernel_size):
    wrapper = SpectralNormalization(
        layers.Conv2D(4, kernel_size, strides=2), norm="conv"
    )
    wrapper.build((None, None, None, 3))
    truth = np.linalg.norm(
        ops.convert_to_numpy(wrapper.kernels[0]).reshape(3, 4), 2
    )
    np.testing.assert_allclose(sigmas(wrapper), truth, rtol=1e-5)
    assert vector(wrapper).shape == (4,)


@pytest.mark.parametrize("rank", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_separable_convolution_has_both_norms(rank):
    shape = (6, 5, 3)[-rank - 1 :]
    separable, depthwise = [
        getattr(layers, f"{kind}Conv{rank}D")
        for kind in ("Separable", "Depthwise")
    ]
    wrapper = SpectralNormalization(
        separable(5, 3, depth_multiplier=2, **SAME_2), norm="conv"
    )
    wrapper.build((None, *shape))
    part = depthwise(3, depth_multiplier=2, **SAME_2)
    part.build((None, *shape))
    part.kernel.assign(wrapper.layer.depthwise_kernel)
    pointwise = ops.convert_to_numpy(wrapper.layer.pointwise_kernel)
    truth = [
        operators.norm(part, shape),
        np.linalg.norm(pointwise.reshape(6, 5), 2),
    ]
    found = sigmas(wrapper)
    np.testing.assert_allclose(found, truth, rtol=1e-3)


@pytest.mark.parametrize("name", ["2d_same_strided", "transpose_2d_same"])
def test_training_takes_a_step_and_inference_none(name):
    wrapper, shape = wrapped(name)
    u = vector(wrapper)
    start = np.random.default_rng(2).normal(size=u.shape)
    u.assign(start / np.linalg.norm(start))
    before = ops.convert_to_numpy(u)
    x = np.ones((2, *shape), "float32")
    wrapper(x)
    with power_iteration.paused():
        wrapper(x, training=True)
    np.testing.assert_array_equal(ops.convert_to_numpy(u), before)
    wrapper(x, training=True)
    a = operators.matrix(wrapper.layer, shape)
    v = a @ before.ravel()
    after = v @ a
    np.testing.assert_allclose(
        ops.convert_to_numpy(u).ravel(),
        after / np.linalg.norm(after),
        rtol=1e-3,
        atol=1e-6,
    )
    # Of the new u, as a training call takes it: u^T A v of unit vectors.
    np.testing.assert_allclose(
        ops.convert_to_numpy(
            wrapper._sigma(0, wrapper.kernels[0], training=True).value
        ),
        np.linalg.norm(a.T @ (a @ after) / np.linalg.norm(a @ after)),
        rtol=1e-4,
    )


@pytest.mark.parametrize(
    ("layer", "training"),
    [
        (layers.Conv2D(2, 2, **SAME_2), True),
        pytest.param(
            layers.Conv2D(2, 2, **SAME_2), False, marks=pytest.mark.one_backend
        ),
        (layers.Conv2DTranspose(2, 2, strides=2), True),
        pytest.param(
            layers.DepthwiseConv2D(2, depth_multiplier=2),
            True,
            marks=pytest.mark.one_backend,
        ),
        pytest.param(
            layers.Conv2D(2, 2, groups=2), True, marks=pytest.mark.slow
        ),
    ],
    ids=["conv", "conv_inference", "transpose", "depthwise", "grouped"],
)
def test_gradient_matches_finite_differences(layer, training):
    shape = (3, 4, 2)
    layer = type(layer).from_config({**layer.get_config(), "use_bias": False})
    wrapper = SpectralNormalization(layer, norm="conv", power_iterations=30)
    wrapper.build((None, *shape))
    kernel = ops.convert_to_numpy(wrapper.kernels[0])
    parts = operators.of_each_entry(layer, wrapper.kernels[0], shape)
    x = np.random.default_rng(3).normal(size=(2, *shape)).astype("float32")

    def loss(kernel):
        a = np.tensordot(kernel, parts, axes=kernel.ndim)
        return np.sum(np.sin(x.reshape(2, -1) @ a / np.linalg.norm(a, 2)))

    np.testing.assert_allclose(
        operators.gradient(wrapper, x, training=training),
        operators.differences(loss, kernel),
        rtol=2e-3,
        atol=2e-3,
    )


@pytest.mark.parametrize(
    "scale", [1e-25, pytest.param(1e25, marks=pytest.mark.slow)]
)
def test_extreme_kernels_stay_in_float32(scale):
    wrapper, shape = wrapped("2d_same_strided")
    x = np.random.default_rng(3).normal(size=(2, *shape)).astype("float32")
    outputs = ops.convert_to_numpy(wrapper(x))
    expected = operators.gradient(wrapper, x, training=True)
    sigma = sigmas(wrapper)[0]
    (kernel,) = wrapper.kernels
    kernel.assign(ops.convert_to_numpy(kernel) * scale)
    wrapper.settle()
    np.testing.assert_allclose(sigmas(wrapper), sigma * scale, rtol=1e-3)
    np.testing.assert_allclose(
        ops.convert_to_numpy(wrapper(x)), outputs, rtol=1e-2, atol=1e-3
    )
    np.testing.assert_allclose(
        operators.gradient(wrapper, x, training=True) * scale,
        expected,
        rtol=1e-2,
        atol=1e-2,
    )


def test_zero_kernel_gives_zeros_and_finite_gradients():
    wrapper, shape = wrapped("2d_same_strided")
    wrapper.layer.bias.assign(np.zeros(4))
    (kernel,) = wrapper.kernels
    kernel.assign(np.zeros(kernel.shape))
    before = ops.convert_to_numpy(vector(wrapper))
    x = np.ones((2, *shape), "float32")
    gradient = operators.gradient(wrapper, x, training=True)
    assert np.all(np.isfinite(gradient))
    np.testing.assert_array_equal(ops.convert_to_numpy(wrapper(x)), 0)
    np.testing.assert_allclose(
        ops.convert_to_numpy(vector(wrapper)), before, rtol=1e-5
    )
    assert sigmas(wrapper)[0] == 0
    wrapper.settle()
    assert np.all(np.isfinite(ops.convert_to_numpy(vector(wrapper))))


def test_u_and_sigma_are_float32_under_mixed_precision():
    policy = "mixed_float16"
    layer = layers.Conv2D(4, 3, dtype=policy)
    wrapper = SpectralNormalization(layer, norm="conv")
    outputs = wrapper(np.ones((1, 5, 5, 3), "float32"), training=True)
    assert keras.backend.standardize_dtype(outputs.dtype) == policy[6:]
    for found in (vector(wrapper).value, wrapper.spectral_norm()):
        assert keras.backend.standardize_dtype(found.dtype) == "float32"
    assert vector(wrapper).aggregation == "only_first_replica"


def small_model(size=6):
    return keras.Sequential(
        [
            keras.Input((size, size, 2)),
            layers.Conv2D(3, 3, padding="same", name="conv"),
            layers.Flatten(),
            layers.Dense(2, name="dense"),
        ]
    )


@pytest.mark.slow
def test_model_is_wrapped_saved_cloned_and_folded(tmp_path):
    x = np.random.default_rng(3).normal(size=(2, 6, 6, 2)).astype("float32")
    plain = small_model()
    model = wrap(plain, norm="conv", bound=0.5)
    truth = operators.norm(plain.get_layer("conv"), (6, 6, 2))
    estimates = spectral_estimates(model)
    estimates = {k: ops.convert_to_numpy(v) for k, v in estimates.items()}
    np.testing.assert_allclose(estimates["conv"], truth, rtol=1e-3)
    dense = spectral_norms(plain)["dense"]
    np.testing.assert_allclose(estimates["dense"], dense, rtol=1e-4)
    # Exact, but of the matrix: below the norm of the map.
    reshaped = spectral_norms(plain)["conv"] / truth * 0.5
    np.testing.assert_allclose(
        spectral_norms(model)["conv"], reshaped, rtol=1e-3
    )

    expected = ops.convert_to_numpy(model(x))
    folded = fold(model)
    np.testing.assert_allclose(
        ops.convert_to_numpy(folded(x)), expected, rtol=1e-5, atol=1e-6
    )
    norm = operators.norm(folded.get_layer("conv"), (6, 6, 2))
    np.testing.assert_allclose(norm, 0.5, rtol=1e-3)

    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.get_layer("conv").norm == "conv"
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    for other in (loaded, clone):
        for old, new in zip(model.weights, other.weights, strict=True):
            np.testing.assert_array_equal(
                ops.convert_to_numpy(new), ops.convert_to_numpy(old)
            )
        np.testing.assert_allclose(
            ops.convert_to_numpy(other(x)), expected, rtol=1e-5, atol=1e-6
        )


def test_layer_called_at_two_sizes_has_the_norm_of_the_first():
    wrapper = SpectralNormalization(layers.Conv2D(3, 3), norm="conv")
    wrapper(np.ones((1, 4, 4, 2), "float32"))
    before = sigmas(wrapper)[0]
    wrapper(np.ones((1, 7, 5, 2), "float32"), training=True)
    truth = operators.norm(wrapper.layer, (4, 4, 2))
    np.testing.assert_allclose([before, *sigmas(wrapper)], truth, 1e-3)


@pytest.mark.slow
def test_convolution_inside_a_wrapped_layer_finds_its_own_size():
    inner = keras.Sequential(
        [layers.Conv2D(3, 3, strides=2), layers.Conv2D(2, 2)]
    )
    wrapper = SpectralNormalization(inner, norm="conv")
    wrapper(np.ones((1, 7, 7, 2), "float32"), training=True)
    found = sigmas(wrapper)
    first, second = inner.layers
    truth = [
        operators.norm(first, (7, 7, 2)),
        operators.norm(second, (3, 3, 3)),
    ]
    np.testing.assert_allclose(found, truth, rtol=1e-3)


def test_open_input_size_is_an_error():
    wrapper = SpectralNormalization(layers.Conv2D(3, 3), norm="conv")
    with pytest.raises(ValueError, match=r'fixed input size.*norm="matrix"'):
        wrapper.build((None, None, 5, 2))


def test_attention_has_the_norms_of_its_matrices():
    x = np.ones((2, 3, 4), "float32")
    norms = {}
    for norm in ("matrix", "conv", "bidirectional"):
        keras.utils.set_random_seed(1)
        wrapper = SpectralNormalization(
            layers.MultiHeadAttention(2, 3), norm=norm
        )
        wrapper(x, x, training=True)
        norms[norm] = sigmas(wrapper)
    np.testing.assert_allclose(norms["conv"], norms["matrix"], rtol=1e-4)
    np.testing.assert_allclose(
        norms["bidirectional"], norms["matrix"], rtol=1e-4
    )


@pytest.mark.slow
def test_step_compiles(tf):
    """With TensorFlow's XLA; on JAX gradients above are of compiled steps."""
    wrapper, shape = wrapped("transpose_2d_same")
    x = tf.ones((2, *shape))
    u = vector(wrapper)
    start = np.random.default_rng(2).normal(size=u.shape)
    start /= np.linalg.norm(start)

    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.sin(wrapper(x, training=True)))
        return tape.gradient(loss, wrapper.kernels[0].value)

    results = []
    for run in (
        step,
        tf.function(step),
        tf.function(step, jit_compile=True),
    ):
        u.assign(start)
        results.append((run().numpy(), ops.convert_to_numpy(u)))
    for gradient, after in results[1:]:
        np.testing.assert_allclose(gradient, results[0][0], atol=1e-4)
        np.testing.assert_allclose(after, results[0][1], atol=1e-5)
        assert not np.allclose(after, start, atol=1e-3)
