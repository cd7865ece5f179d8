import math

import keras
import numpy as np
import pytest
import small
import tensorflow as tf
from keras import layers

from sngan_tf import SpectralCompensation
from sngan_tf.gan import GAN
from sngan_tf.layers import SpectralNormalization

RNG = np.random.default_rng(0)


def low_rank(*shape):
    """A matrix of rank 2."""
    rows, columns = shape
    return RNG.normal(size=(rows, 2)) @ RNG.normal(size=(2, columns))


# A convolution of 6 outputs, and its kernel as the matrix d_out x rest.
KERNELS = {
    "wide": (layers.Conv2D(6, 3), RNG.normal(size=(6, 36))),
    "tall": (layers.Conv2D(6, 1), RNG.normal(size=(6, 4))),
    "odd": (layers.Conv1D(5, 2), RNG.normal(size=(5, 8))),
    "one": (layers.Conv2D(1, 2), RNG.normal(size=(1, 16))),
    "rank_deficient": (layers.Conv2D(6, 2), low_rank(6, 16)),
    "transposed": (layers.Conv2DTranspose(6, 2), RNG.normal(size=(6, 16))),
}
each_kernel = pytest.mark.parametrize("kind", KERNELS)


def gan_of(*discriminator_layers, shape=(4, 4, 4)):
    discriminator = keras.Sequential(
        [keras.Input(shape), *discriminator_layers, layers.Flatten()]
    )
    discriminator.add(layers.Dense(1, name="dense"))
    generator = keras.Sequential(
        [
            keras.Input((2,)),
            layers.Dense(math.prod(shape)),
            layers.Reshape(shape),
        ]
    )
    return GAN(generator, discriminator)


def matrix(layer):
    """The kernel as d_out x rest, float64."""
    kernel = np.array(layer.kernel, "float64")
    if isinstance(layer, layers.Conv2DTranspose):
        kernel = np.swapaxes(kernel, -1, -2)
    return kernel.reshape(-1, kernel.shape[-1]).T


def assign(layer, w):
    shape = [*layer.kernel.shape]
    if isinstance(layer, layers.Conv2DTranspose):
        shape[-2:] = shape[:-3:-1]
        layer.kernel.assign(np.swapaxes(w.T.reshape(shape), -1, -2))
    else:
        layer.kernel.assign(w.T.reshape(shape))


def compensation(kind, layer_kind):
    """Returns the callback, the layer that it edits, and its matrix."""
    layer, w = KERNELS[layer_kind]
    layer = type(layer).from_config(layer.get_config())
    is_1d = isinstance(layer, layers.Conv1D)
    gan = gan_of(layer, shape=(4, 4) if is_1d else (4, 4, 4))
    assign(layer, w)
    callback = SpectralCompensation(kind)
    callback.set_model(gan)
    return callback, layer, matrix(layer)


def assert_is(w, u, s, vt):
    """Asserts singular values, and vectors where those of before are not 0."""
    np.testing.assert_allclose(
        np.linalg.svd(w, compute_uv=False), s, rtol=1e-5, atol=1e-5
    )
    np.testing.assert_allclose(w @ vt.T, u * s[: len(vt)], atol=1e-5)


@each_kernel
def test_static_raises_the_first_half_to_one(kind):
    callback, layer, before = compensation("static", kind)
    u, s, vt = np.linalg.svd(before, full_matrices=False)
    rank = (s > 1e-5).sum()
    expected = s / s[0]
    expected[: len(s) // 2] = 1.0
    callback.compensate()
    after = matrix(layer)
    assert_is(after, u[:, :rank], expected, vt[:rank])
    if len(s) == 6:
        values = np.linalg.svd(after, compute_uv=False)
        assert (abs(values - 1) < 1e-5).sum() == 3
    assert callback.variables == []


@each_kernel
def test_dynamic_keeps_the_largest_ratios(kind):
    callback, layer, first = compensation("dynamic", kind)
    _, s, _ = np.linalg.svd(first, full_matrices=False)
    record = s / s[0]
    callback.compensate()
    np.testing.assert_allclose(matrix(layer), first, atol=1e-5)
    for scale in (1.0, 3.0, 0.1):
        w = (scale * RNG.normal(size=first.shape)).astype("float32")
        assign(layer, w)
        u, s, vt = np.linalg.svd(w.astype("float64"), full_matrices=False)
        record = np.maximum(record, s / s[0])
        callback.compensate()
        assert_is(matrix(layer), u, s[0] * record, vt)
        np.testing.assert_allclose(callback.variables[0], record, atol=1e-5)


@pytest.mark.parametrize("kind", ["static", "dynamic"])
@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_kernels_without_ratios_are_left(kind, value):
    callback, layer, w = compensation(kind, "wide")
    assign(layer, np.full_like(w, value))
    callback.compensate()
    np.testing.assert_array_equal(matrix(layer), np.full_like(w, value))
    for record in callback.variables:
        np.testing.assert_array_equal(record, np.zeros(6))


@pytest.mark.parametrize("kind", ["static", "dynamic"])
def test_u_stays_right_and_other_kernels_as_they_are(kind):
    normalized = SpectralNormalization(layers.Conv2D(6, 3))
    shared = layers.Conv2D(6, 3, padding="same")
    gan = gan_of(normalized, shared, shared, layers.LayerNormalization())
    callback = SpectralCompensation(kind)
    callback.set_model(gan)
    assert len(callback._kernels) == 2
    callback.compensate()
    assign(normalized.layer, RNG.normal(size=(6, 36)))
    normalized.settle()
    others = [
        (variable, np.array(variable))
        for variable in gan.variables
        if variable is not normalized.layer.kernel
        and variable is not shared.kernel
    ]
    callback.compensate()
    largest = np.linalg.svd(matrix(normalized.layer), compute_uv=False)[0]
    np.testing.assert_allclose(normalized.spectral_norm(), largest, rtol=1e-5)
    for variable, value in others:
        np.testing.assert_array_equal(variable, value)


# When.


class Steps(SpectralCompensation):
    """Notes the steps of its edits."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.edited = []

    def compensate(self):
        self.edited.append((self.step, int(self.model.step.numpy())))
        super().compensate()


def fit(gan, callback, updates=6, executed=1, **kwargs):
    gan.compile(
        generator_optimizer=keras.optimizers.SGD(0.1),
        discriminator_optimizer=keras.optimizers.SGD(0.1),
        steps_per_execution=executed,
        run_eagerly=executed == 1,
    )
    images = np.tanh(
        RNG.normal(size=(2 * updates, *gan.generator.output_shape[1:]))
    )
    dataset = tf.data.Dataset.from_tensor_slices(images.astype("float32"))
    gan.fit(dataset.batch(2), verbose=0, callbacks=[callback], **kwargs)
    return gan


def test_edits_are_due_at_multiples_of_steps():
    gan = gan_of(layers.Conv2D(4, 3))
    gan.step.assign(3)
    callback = Steps("static", every=4)
    fit(gan, callback, epochs=2)
    assert callback.edited == [(4, 4), (8, 8), (12, 12)]
    fit(gan, callback, updates=2)
    assert callback.edited[3:] == [(16, 16)]
    # Nothing was read of the updates for it.
    assert callback.reads_logs is False


def test_executions_end_where_edits_are_due():
    gan = gan_of(layers.Conv2D(4, 3))
    callback = Steps("static", every=4)
    fit(gan, callback, executed=2)
    assert callback.edited == [(4, 4)]
    with pytest.raises(ValueError, match="must divide .*, 4. Received: .*=3"):
        fit(gan, callback, executed=3)


@pytest.mark.slow
def test_replicas_get_equal_kernels(two_replicas):
    with two_replicas.scope():
        keras.utils.set_random_seed(0)
        gan = GAN(*small.build("cnn", (8, 8, 1), 4, 1.0))
        gan.compile(
            generator_optimizer=keras.optimizers.SGD(0.1),
            discriminator_optimizer=keras.optimizers.SGD(0.1),
        )
    images = np.tanh(RNG.normal(size=(8, 8, 8, 1))).astype("float32")
    dataset = tf.data.Dataset.from_tensor_slices(images).batch(4)
    callback = SpectralCompensation("dynamic", every=2)
    gan.fit(dataset, verbose=0, callbacks=[callback])
    ((kernel, _),) = callback._kernels
    one, other = two_replicas.experimental_local_results(kernel.value)
    np.testing.assert_array_equal(one, other)
    s = np.linalg.svd(np.reshape(one, (-1, 4)), compute_uv=False)
    np.testing.assert_allclose(callback.variables[0], s / s[0], rtol=1e-4)


def test_record_is_kept_in_checkpoints(tmp_path):
    gan = gan_of(layers.Conv2D(4, 3))
    callbacks = []
    for _ in range(2):
        callback = SpectralCompensation("dynamic")
        callback.set_model(gan)
        callbacks.append(callback)
    saved, restored = callbacks
    saved.compensate()
    record = np.array(saved.variables[0])
    path = tf.train.Checkpoint(gan=gan, record=saved.variables).write(
        str(tmp_path / "checkpoint")
    )
    status = tf.train.Checkpoint(gan=gan, record=restored.variables).read(path)
    status.assert_consumed()
    np.testing.assert_array_equal(restored.variables[0], record)
    # `fit` hands the model on again.
    restored.set_model(gan)
    np.testing.assert_array_equal(restored.variables[0], record)
    assert record[0] == 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "both"}, "`kind` must be one of static, dynamic.*kind=both"),
        ({"every": 0}, "`every` must be an integer of at least 1.*every=0"),
        ({"every": 2.5}, "every=2.5"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SpectralCompensation(**arguments)


def test_discriminator_without_convolutions_is_refused():
    with pytest.raises(ValueError, match="must have convolutions"):
        SpectralCompensation().set_model(gan_of(layers.Dense(3)))
