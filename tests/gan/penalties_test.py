import gradients
import keras
import numpy as np
import pytest
from keras import layers

from sngan_tf.gan import penalties

RNG = np.random.default_rng(0)
KERNELS = {
    "tall": (3, 8),
    "wide": (8, 3),
    "square": (5, 5),
    "conv": (3, 2, 4, 7),
    "conv_wide": (1, 1, 4, 9),
}
each_kernel = pytest.mark.parametrize("shape", KERNELS.values(), ids=KERNELS)


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 5, 2)])
def test_gradient_penalty_matches_numpy(shape):
    gradients = RNG.normal(size=shape)
    norms = np.linalg.norm(gradients.reshape(3, -1), axis=1)
    np.testing.assert_allclose(
        penalties.gradient_penalty(gradients),
        np.mean((norms - 1) ** 2),
        rtol=1e-5,
    )


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 5, 2)])
def test_zero_centered_penalty_matches_numpy(shape):
    gradients = RNG.normal(size=shape)
    np.testing.assert_allclose(
        penalties.zero_centered_penalty(gradients),
        np.mean((gradients.reshape(3, -1) ** 2).sum(axis=1)),
        rtol=1e-5,
    )


def test_gradients_of_norm_one_have_no_penalty():
    gradients = np.array([[0.6, 0.8], [0.0, -1.0]])
    np.testing.assert_allclose(
        penalties.gradient_penalty(gradients), 0, atol=1e-12
    )


def test_zero_gradients_have_penalty_one_and_slope_zero():
    slopes = keras.Variable([[0.0, 0.0], [3.0, 4.0]])
    penalty, (gradient,) = gradients.of(
        lambda: penalties.gradient_penalty(slopes.value), [slopes]
    )
    np.testing.assert_allclose(penalty, (1 + 16) / 2, rtol=1e-6)
    # 2 (|g| - 1) g / |g|, over two pictures.
    np.testing.assert_allclose(gradient, [[0, 0], [2.4, 3.2]], rtol=1e-6)


def test_penalty_of_half_precision_gradients_is_float32():
    # The square of 300 is out of the range of float16.
    gradients = keras.ops.full((1, 1), 300.0, dtype="float16")
    penalty = penalties.gradient_penalty(gradients)
    np.testing.assert_allclose(penalty, 299.0**2, rtol=1e-6)
    penalty = penalties.zero_centered_penalty(gradients)
    np.testing.assert_allclose(penalty, 300.0**2, rtol=1e-6)


def test_interpolates_from_fake_to_real():
    real, fake = RNG.normal(size=(2, 3, 4, 4, 2))
    mix = np.reshape([0.0, 0.25, 1.0], (3, 1, 1, 1))
    images = np.array(penalties.interpolate(real, fake, mix))
    np.testing.assert_array_equal(images[0], fake[0])
    np.testing.assert_allclose(images[1], 0.25 * real[1] + 0.75 * fake[1])
    np.testing.assert_array_equal(images[2], real[2])


@each_kernel
def test_orthonormal_penalty_matches_numpy(shape):
    kernel = RNG.normal(size=shape)
    rows = np.moveaxis(kernel, -1, 0).reshape(shape[-1], -1)
    # Where W is wide |W W^T - I|^2, where it is tall |W^T W - I|^2: on the
    # singular values, of which there are as many as the smaller side.
    values = np.linalg.svd(rows, compute_uv=False)
    np.testing.assert_allclose(
        penalties.Orthonormal(0.3)(kernel.astype("float32")),
        0.3 * np.sum((values**2 - 1) ** 2),
        rtol=1e-5,
    )


@each_kernel
def test_orthogonal_kernel_has_no_penalty(shape):
    kernel = keras.initializers.Orthogonal(seed=0)(shape)
    assert 0 <= penalties.Orthonormal(1.0)(kernel) < 1e-8


def test_layer_adds_the_orthonormal_penalty():
    layer = layers.Dense(
        2,
        kernel_initializer=keras.initializers.Constant(0.5),
        kernel_regularizer=penalties.Orthonormal(0.1),
    )
    layer.build((None, 4))
    # W W^T is all ones, so that off the diagonal two are left.
    np.testing.assert_allclose(layer.losses, [0.2], rtol=1e-6)


def test_clipping_keeps_weights_within_the_limit():
    np.testing.assert_allclose(
        penalties.WeightClipping(0.01)(np.array([-1.0, -0.005, 0.0, 0.02])),
        [-0.01, -0.005, 0.0, 0.01],
    )


def test_update_clips_the_kernel_and_not_the_bias():
    layer = layers.Dense(1, kernel_constraint=penalties.WeightClipping(0.01))
    layer.build((None, 2))
    layer.kernel.assign([[0.0], [0.005]])
    keras.optimizers.SGD(1.0).apply(
        [keras.ops.array([[-3.0], [0.0]]), keras.ops.array([-3.0])],
        layer.trainable_variables,
    )
    np.testing.assert_allclose(layer.kernel, [[0.01], [0.005]])
    np.testing.assert_allclose(layer.bias, [3.0])


@pytest.mark.parametrize(
    ("thing", "config"),
    [
        (penalties.Orthonormal(0.3), {"coefficient": 0.3}),
        (penalties.WeightClipping(0.02), {"limit": 0.02}),
    ],
    ids=["orthonormal", "weight_clipping"],
)
def test_config_survives(thing, config):
    serialized = keras.saving.serialize_keras_object(thing)
    copy = keras.saving.deserialize_keras_object(serialized)
    assert type(copy) is type(thing)
    assert copy.get_config() == config
    kernel = RNG.normal(size=(3, 2)).astype("float32")
    np.testing.assert_array_equal(copy(kernel), thing(kernel))


@pytest.mark.parametrize("value", [-1.0, float("inf"), float("nan")])
def test_numbers_out_of_range_are_refused(value):
    with pytest.raises(ValueError, match=f"coefficient={value}"):
        penalties.Orthonormal(value)
    with pytest.raises(ValueError, match=f"limit={value}"):
        penalties.WeightClipping(value)
