"""Every network and every method, at a small width."""

import keras
import numpy as np
import pairs
import pytest
import tensorflow as tf

from sngan_tf.gan import GAN
from sngan_tf.gan import methods
from sngan_tf.layers import SpectralNormalization
from sngan_tf.layers import kernels
from sngan_tf.layers import power_iteration
from sngan_tf.layers import spectral_norms
from sngan_tf.layers.kernel_normalization import KernelNormalization
from sngan_tf.runs import checkpoint

pytestmark = pytest.mark.slow

BATCH, CLASSES, LATENTS, SIZE = 4, 3, 6, 32


def build(network, method, coefficient=None):
    num_classes = CLASSES if pairs.is_conditional(network) else None
    method = methods.get(method, coefficient)
    gan = GAN(
        *pairs.build(
            network,
            (SIZE, SIZE, 3),
            latent_dim=LATENTS,
            width=1 / 32,
            method=method,
            num_classes=num_classes,
        ),
        num_classes=num_classes,
        **pairs.arguments(method),
    )
    # Without epsilon any gradient but 0 moves a weight by the learning rate.
    gan.compile(
        generator_optimizer=keras.optimizers.Adam(1e-3, 0.5, epsilon=1e-30),
        discriminator_optimizer=keras.optimizers.Adam(1e-5, 0.5, epsilon=1e-30),
    )
    return gan


def batch():
    random = np.random.default_rng(0)
    images = random.uniform(-1, 1, (BATCH, SIZE, SIZE, 3))
    labels = tf.constant([0, 1, 2, 0])
    return tf.constant(images, tf.float32), labels


def state(model):
    return {v.path: keras.ops.convert_to_numpy(v) for v in model.variables}


def changed(before, after):
    assert before.keys() == after.keys()
    return {k for k in before if not np.array_equal(before[k], after[k])}


def paths(variables):
    return {variable.path for variable in variables}


def kernels_of(model):
    return paths(kernel for kernel, _ in kernels.find_kernels(model))


def kept_statistics(model):
    """Paths of what a training call keeps: `u` and running means."""
    return paths(model.non_trainable_variables)


def unsettle(model):
    """Turns every `u` away from where one more iteration leaves it."""
    for variable in model.non_trainable_variables:
        if variable.name == "u":
            variable.assign(keras.random.normal(variable.shape))


def matrices(discriminator):
    """Yields the layer and the matrix that it computes with."""
    inside = set()
    for layer in kernels.sublayers(discriminator):
        if isinstance(layer, KernelNormalization):
            inside.add(layer.layer)
            ((_, axes),) = kernels.find_kernels(layer)
            yield layer.layer, matrix(layer.normalized_kernel(), axes)
        elif layer not in inside:
            for kernel, axes in kernels.own_kernels(layer):
                yield layer, matrix(kernel, axes)


def matrix(kernel, axes):
    kernel = keras.ops.convert_to_tensor(kernel)
    return keras.ops.convert_to_numpy(power_iteration.as_matrix(kernel, axes))


@pytest.mark.parametrize(("network", "method"), pairs.METHODS + pairs.NETWORKS)
def test_steps_change_what_they_should_and_nothing_else(network, method):
    gan = build(network, method)
    images, labels = batch()
    labels = labels if gan.num_classes else None

    unsettle(gan.discriminator)
    generator, discriminator = state(gan.generator), state(gan.discriminator)
    losses = gan._discriminator_step(images, labels, draw=0)
    assert np.isfinite([float(loss) for loss in losses.values()]).all()
    updated = changed(discriminator, state(gan.discriminator))
    trainable = paths(gan.discriminator.trainable_variables)
    statistics = kept_statistics(gan.discriminator)
    assert updated - trainable == statistics
    assert kernels_of(gan.discriminator) <= updated
    assert {path for path in trainable if "gamma" in path} <= updated
    assert changed(generator, state(gan.generator)) == kept_statistics(
        gan.generator
    )

    generator, discriminator = state(gan.generator), state(gan.discriminator)
    losses = gan._generator_step(BATCH, 1, images, labels)
    assert np.isfinite([float(loss) for loss in losses.values()]).all()
    assert changed(discriminator, state(gan.discriminator)) == set()
    updated = changed(generator, state(gan.generator))
    trainable = paths(gan.generator.trainable_variables)
    assert updated - trainable == kept_statistics(gan.generator)
    assert kernels_of(gan.generator) <= updated
    assert {path for path in trainable if "gamma" in path} <= updated
    for values in (state(gan.generator), state(gan.discriminator)):
        assert all(np.isfinite(value).all() for value in values.values())


def holders(gan):
    """Returns what has variables."""
    return (
        gan.generator,
        gan.discriminator,
        gan.generator_optimizer,
        gan.discriminator_optimizer,
    )


# What is saved is the variables of every kind of layer and of every method.
@pytest.mark.parametrize(
    ("network", "method"),
    [
        *((network, "wgan_gp_spectral_norm") for network in pairs.KINDS),
        *pairs.METHODS,
    ],
)
def test_saved_and_restored(network, method, tmp_path):
    gan = build(network, method)
    random = np.random.default_rng(0)
    for holder in holders(gan):
        for variable in holder.variables:
            variable.assign(random.integers(1, 99, variable.shape))
    gan.step.assign(1)
    checkpoint.Checkpoints(gan, tmp_path / "checkpoints", keep=1).save(1)
    restored = build(network, method)
    assert changed(state(gan.discriminator), state(restored.discriminator))
    again = checkpoint.Checkpoints(restored, tmp_path / "checkpoints", keep=1)
    assert again.restore() == 1
    for one, other in zip(holders(gan), holders(restored)):
        values = [
            [keras.ops.convert_to_numpy(v) for v in holder.variables]
            for holder in (one, other)
        ]
        for a, b in zip(*values, strict=True):
            np.testing.assert_array_equal(a, b)


# No method changes a generator, and one has labels or none.
@pytest.mark.parametrize("network", ["cnn", "resnet_projection"])
def test_exported(network, tmp_path):
    gan = step(build(network, "none"))
    gan.export(tmp_path / "generator")
    served = tf.saved_model.load(str(tmp_path / "generator"))
    latents = tf.random.stateless_normal((BATCH, LATENTS), (0, 0))
    inputs = {"latents": latents}
    if gan.num_classes:
        inputs["labels"] = batch()[1]
    pictures = served.signatures["serving_default"](**inputs)["images"]
    expected = gan(list(inputs.values()) if gan.num_classes else latents)
    assert pictures.dtype == tf.uint8
    np.testing.assert_allclose(
        tf.cast(pictures, tf.float32), (expected + 1) * 128, atol=1.01
    )


# What a method promises of the weights, once settled. Which of them a network
# hands to its method is seen with the spectral norm; the projection has an
# embedding among them.


@pytest.mark.parametrize(
    ("network", "method"),
    [("cnn", "sr_gan_dynamic"), ("resnet_projection", "sr_gan_static")],
)
def test_compensation_edits_convolutions_alone(network, method):
    gan = build(network, method)
    (callback,) = methods.get(method).callbacks()
    callback.set_model(gan)
    ratios = ratios_of_convolutions(gan)
    for record in callback.variables:
        record.assign(np.full(record.shape, 0.9))
    before, generator = state(gan.discriminator), state(gan.generator)
    callback.compensate()
    assert changed(generator, state(gan.generator)) == set()
    updated = changed(before, state(gan.discriminator))
    assert updated == paths(kernel for kernel, _ in callback._kernels)
    assert len(updated) == len(ratios)
    for old, new in zip(ratios, ratios_of_convolutions(gan), strict=True):
        if method == "sr_gan_static":
            old[: len(old) // 2] = 1
        else:
            old = np.maximum(old, 0.9)
        np.testing.assert_allclose(new, old, atol=1e-5)


def ratios_of_convolutions(gan):
    """Returns s / s_1 of each convolution of the discriminator."""
    values = [
        np.linalg.svd(w, compute_uv=False)
        for layer, w in matrices(gan.discriminator)
        if isinstance(layer, keras.layers.Conv2D)
    ]
    return [s / s[0] for s in values]


@pytest.mark.parametrize("network", pairs.KINDS)
def test_spectral_norm_is_the_bound(network):
    gan = step(build(network, "spectral_norm", coefficient=0.7))
    normalized = [
        layer
        for layer in kernels.sublayers(gan.discriminator)
        if isinstance(layer, SpectralNormalization)
    ]
    for layer in normalized:
        layer.settle()
    norms = [*spectral_norms(gan.discriminator).values()]
    assert norms == pytest.approx([0.7] * len(norms), abs=1e-3)
    for layer in normalized:
        layer.bound = 1.0
    norms = [*spectral_norms(gan.discriminator).values()]
    assert norms == pytest.approx([1.0] * len(norms), abs=1e-3)


def test_weight_norm_makes_squared_singular_values_sum_to_d_out():
    gan = step(build("resnet_projection", "weight_norm"))
    for layer, w in matrices(gan.discriminator):
        singular_values = np.linalg.svd(w, compute_uv=False)
        assert (singular_values**2).sum() == pytest.approx(len(w)), layer.name


def test_frobenius_norm_makes_them_sum_to_1():
    gan = step(build("resnet_projection", "frobenius_norm"))
    for layer, w in matrices(gan.discriminator):
        singular_values = np.linalg.svd(w, compute_uv=False)
        assert (singular_values**2).sum() == pytest.approx(1.0), layer.name


def test_clipping_bounds_convolutions():
    gan = step(build("resnet_projection", "weight_clipping"))
    largest = {True: 0.0, False: 0.0}
    for layer, w in matrices(gan.discriminator):
        is_convolution = isinstance(layer, keras.layers.Conv2D)
        largest[is_convolution] = max(largest[is_convolution], abs(w).max())
    assert largest[True] == np.float32(0.01)
    assert largest[False] > 0.01


def test_orthonormal_init_has_no_penalty():
    gan = build("resnet_projection", "orthonormal")
    penalties = gan.discriminator.losses
    assert len(penalties) == len(kernels.find_kernels(gan.discriminator))
    assert all(float(penalty) < 1e-8 for penalty in penalties)
    for kernel, _ in kernels.find_kernels(gan.discriminator):
        kernel.assign(2.0 * kernel)
    # Eq. 14 of 2 W is |4 I - I|_F^2, with I on W's smaller side.
    sides = [min(w.shape) for _, w in matrices(gan.discriminator)]
    assert [float(x) for x in gan.discriminator.losses] == pytest.approx(
        [9e-3 * side for side in sides]
    )


@pytest.mark.parametrize("method", ["spectral_norm", "frobenius_norm"])
def test_learned_scale_starts_as_the_plain_layer(method):
    keras.utils.set_random_seed(1)
    scaled = build("resnet_projection", f"wgan_gp_{method}").discriminator
    for layer in kernels.sublayers(scaled):
        if isinstance(layer, KernelNormalization):
            (kernel,) = layer.kernels
            np.testing.assert_allclose(
                layer.normalized_kernel(), kernel, rtol=1e-4, atol=1e-7
            )


def step(gan):
    images, labels = batch()
    gan.train_step((images, labels) if gan.num_classes else images)
    return gan
