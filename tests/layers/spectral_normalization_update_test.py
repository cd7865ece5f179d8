"""`update` against the power iteration in NumPy."""

import keras
import numpy as np
import pytest
from keras import layers

from sngan_tf import SpectralNormalization
from sngan_tf.layers import SpectralRegularization

VECTORS = np.random.default_rng(0).normal(size=(2, 3, 6)).astype("float32")


def vectors_of(layer):
    return [v for v in layer.non_trainable_variables if v.name == "u"]


def moved(layer):
    """Builds the layer and gives it other kernels, as training would."""
    layer.build(VECTORS.shape)
    rng = np.random.default_rng(1)
    for kernel in layer.kernels:
        kernel.assign(rng.normal(size=kernel.shape))
    return layer


def iterated(layer, steps):
    """Returns what every `u` is after as many steps, rows being outputs."""
    vectors = []
    for kernel, u in zip(layer.kernels, vectors_of(layer), strict=True):
        w, u = np.array(kernel, "float64").T, np.array(u, "float64")
        for _ in range(steps):
            v = w.T @ u / np.linalg.norm(w.T @ u)
            u = w @ v / np.linalg.norm(w @ v)
        vectors.append(u)
    return vectors


def assert_all_close(variables, expected):
    for variable, value in zip(variables, expected, strict=True):
        np.testing.assert_allclose(variable, value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "layer",
    [
        SpectralNormalization(layers.Dense(5)),
        SpectralNormalization(layers.Dense(5), power_iterations=3),
        SpectralNormalization(layers.GRU(4)),
        SpectralRegularization(layers.Dense(5)),
    ],
    ids=["dense", "three_steps", "gru", "regularization"],
)
def test_update_advances_every_u_and_nothing_else(layer, function):
    layer = moved(type(layer).from_config(layer.get_config()))
    expected = iterated(layer, 2 * layer.power_iterations)
    trainable = [np.array(v) for v in layer.trainable_variables]
    update = function(layer.update)
    update()
    update()
    assert_all_close(vectors_of(layer), expected)
    assert_all_close(layer.trainable_variables, trainable)
    assert not layer.losses


def test_norm_in_effect_follows_the_kernel_by_updates_alone():
    layer = moved(SpectralNormalization(layers.Dense(5), power_iterations=20))

    def norm():
        layer(VECTORS)
        return np.linalg.norm(layer.normalized_kernel(), 2)

    started = norm()
    assert norm() == started > 1.05
    layer.update()
    layer.update()
    assert norm() == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize("inside", [True, False])
def test_replicas_agree(two_replicas, inside):
    with two_replicas.scope():
        layer = moved(SpectralNormalization(layers.Dense(5)))
        expected = iterated(layer, 1)
        two_replicas.run(layer.update) if inside else layer.update()
    (u,) = vectors_of(layer)
    for copy in two_replicas.experimental_local_results(u.value):
        assert_all_close([copy], expected)


def test_stateless_scope_gets_the_new_u():
    layer = moved(SpectralNormalization(layers.Dense(5)))
    (u,) = vectors_of(layer)
    before, expected = np.array(u), iterated(layer, 1)
    with keras.StatelessScope() as scope:
        layer.update()
    np.testing.assert_array_equal(u, before)
    assert_all_close([scope.get_current_value(u)], expected)


def test_unbuilt_layer_is_named():
    layer = SpectralNormalization(layers.Dense(5), name="lonely")
    with pytest.raises(ValueError, match="update must be built.*lonely"):
        layer.update()
