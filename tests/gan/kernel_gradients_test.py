"""Lambda and the share of Eq. 12, against differences in float64."""

import contextlib

import keras
import numpy as np
import operators
import pytest
import small
import tensorflow as tf
from keras import layers

from sngan_tf.gan import GAN
from sngan_tf.gan import kernel_gradients
from sngan_tf.gan import losses
from sngan_tf.layers import FrobeniusNormalization
from sngan_tf.layers import SpectralNormalization
from sngan_tf.layers import SpectralRegularization
from sngan_tf.layers import WeightNormalization

SHAPE, LATENTS = (5, 5, 1), 4
RANDOM = np.random.default_rng(0)
REAL, FAKE = RANDOM.normal(size=(2, 6, *SHAPE)).astype("float32")
LOSS = losses.get("non_saturating").discriminator


def bare(layer):
    """Returns the layer as no method has it."""
    return layer


def discriminator(wrapper=SpectralNormalization, **kwargs):
    """Returns a model of two known kernels, `u` settled on them."""
    model = keras.Sequential(
        [
            keras.Input(SHAPE),
            wrapper(layers.Conv2D(2, 3, name="conv"), **kwargs),
            layers.LeakyReLU(0.1),
            layers.Flatten(),
            wrapper(layers.Dense(1, name="dense"), **kwargs),
        ]
    )
    random = np.random.default_rng(1)
    for variable in model.trainable_variables:
        variable.assign(random.normal(0.1, 0.5, variable.shape))
    for layer in model.layers:
        if isinstance(layer, SpectralNormalization):
            layer.settle()
    return model


def holders(model):
    """Returns the layers that hold the two kernels."""
    return [
        getattr(layer, "layer", layer)
        for layer in (model.layers[0], model.layers[-1])
    ]


def objective(model):
    return -LOSS(model(REAL, training=False), model(FAKE, training=False))


def measured(model):
    return kernel_gradients.measure(model, lambda: objective(model))


# The same network in NumPy.


def value(kernels, biases):
    """Returns V of kernels in effect."""
    conv, dense = kernels
    images = np.concatenate([REAL, FAKE]).astype("float64")
    patches = np.lib.stride_tricks.sliding_window_view(
        images[..., 0], (3, 3), axis=(1, 2)
    )
    y = np.einsum("nyxhw,hwo->nyxo", patches, conv[:, :, 0]) + biases[0]
    y = np.where(y > 0, y, 0.1 * y).reshape(len(images), -1)
    real, fake = np.split(y @ dense + biases[1], 2)
    return -np.mean(np.log1p(np.exp(-real)) + np.log1p(np.exp(fake)))


def norm_of_matrix(kernel):
    return np.linalg.norm(kernel.reshape(-1, kernel.shape[-1]), 2)


def sigmas(model, norm):
    """Returns a function of each kernel to its norm."""
    conv, _ = holders(model)
    entries = operators.of_each_entry(conv, conv.kernel, SHAPE)

    def norm_of_map(kernel):
        return np.linalg.norm(np.einsum("hwio,hwioab->ab", kernel, entries), 2)

    def both(kernel):
        turned = np.einsum("hwio->hwoi", kernel)
        return (norm_of_matrix(kernel) + norm_of_matrix(turned)) / 2

    of_conv = {"matrix": norm_of_matrix, "conv": norm_of_map}.get(norm, both)
    return of_conv, norm_of_matrix


def values_of(model):
    """Returns kernels and biases of the two layers, float64."""
    return [
        [np.asarray(variable.numpy(), "float64") for variable in variables]
        for variables in zip(*((h.kernel, h.bias) for h in holders(model)))
    ]


def expected(model, norm="matrix", scale=lambda w, sigma: 1 / sigma):
    """Returns `{name: (lambda, share)}` by differences."""
    kernels, _ = values_of(model)
    of_kernel = sigmas(model, norm)
    in_effect = [
        w * scale(i, f(w)) for i, (w, f) in enumerate(zip(kernels, of_kernel))
    ]
    return expected_of(model, in_effect, of_kernel)


def expected_of(model, in_effect, of_kernel=(norm_of_matrix,) * 2):
    """Returns the same of kernels in effect, and functions to their norms."""
    _, biases = values_of(model)
    found = {}
    for i, holder in enumerate(holders(model)):

        def moved(kernel, i=i):
            others = in_effect.copy()
            others[i] = kernel
            return value(others, biases)

        g = operators.differences(moved, in_effect[i])
        # As of W, for the norm of a multiple is that of W, multiplied.
        d = operators.differences(of_kernel[i], in_effect[i])
        share = np.sum(g * d) ** 2 / (np.sum(g * g) * np.sum(d * d))
        found[holder.name] = (np.sum(g * in_effect[i]), share)
    return found


def check(model, expected):
    before = [variable.numpy() for variable in model.variables]
    found = measured(model)
    assert [*found] == [*expected]
    for name, gradient in found.items():
        np.testing.assert_allclose(gradient, expected[name], rtol=1e-4)
    for a, b in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("norm", ["matrix", "conv", "bidirectional"])
def test_both_match_differences_in_every_norm(norm):
    model = discriminator(norm=norm)
    check(model, expected(model, norm))


def test_both_are_of_the_kernel_at_its_bound():
    model = discriminator(bound=1.7)
    check(model, expected(model, scale=lambda i, sigma: 1.7 / sigma))


def test_both_are_of_the_kernel_at_its_learned_scale():
    model = discriminator(learn_scale=True)
    gammas = [v for v in model.trainable_variables if v.name.startswith("gam")]
    for gamma, number in zip(gammas, (0.7, 1.9), strict=True):
        gamma.assign(number)
    check(model, expected(model, scale=lambda i, sigma: (0.7, 1.9)[i] / sigma))


def test_both_are_of_a_kernel_below_its_bound_as_it_is():
    model = discriminator(at_most=True, bound=2.5)
    norms = [
        float(layer.spectral_norm())
        for layer in (model.layers[0], model.layers[-1])
    ]
    assert min(norms) < 2.5 < max(norms)
    check(model, expected(model, scale=lambda i, sigma: min(1, 2.5 / sigma)))


def test_both_are_of_a_regularized_kernel_as_it_is():
    model = discriminator(SpectralRegularization)
    check(model, expected(model, scale=lambda i, sigma: 1.0))


# Kernels without a `u` of ours.


def rows_of_norm_1(kernel):
    squares = np.sum(kernel**2, axis=(*range(kernel.ndim - 1),))
    return kernel / np.sqrt(squares)


@pytest.mark.parametrize(
    ("wrapper", "normalized"),
    [
        (bare, lambda w: w),
        (layers.SpectralNormalization, lambda w: w),
        (WeightNormalization, rows_of_norm_1),
        (FrobeniusNormalization, lambda w: w / np.linalg.norm(w)),
    ],
    ids=["none", "keras_spectral_norm", "weight_norm", "frobenius_norm"],
)
def test_both_are_of_the_first_singular_vectors_without_a_u(
    wrapper, normalized
):
    model = discriminator(wrapper)
    kernels, _ = values_of(model)
    check(model, expected_of(model, [normalized(w) for w in kernels]))


def test_kernels_with_and_without_a_u_are_in_the_order_of_the_layers():
    model = keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.Flatten(),
            layers.Dense(3, name="first"),
            SpectralNormalization(layers.Dense(3, name="second")),
            layers.Dense(1, name="third"),
        ]
    )
    found = measured(model)
    assert [*found] == ["first", "second", "third"]
    assert all(0 < gradient.share <= 1 for gradient in found.values())


def test_kernels_that_are_not_finite_stop_nothing():
    model = discriminator(bare)
    kernel = model.layers[0].kernel
    kernel.assign(kernel * np.nan)
    assert np.isnan(measured(model)["conv"].strength)


@pytest.mark.parametrize(
    "wrapper", [SpectralNormalization, WeightNormalization, bare]
)
def test_zero_kernel_has_neither(wrapper):
    model = discriminator(wrapper)
    for layer in holders(model):
        layer.kernel.assign(0 * layer.kernel)
        layer.bias.assign(0 * layer.bias)
    found = measured(model)
    np.testing.assert_array_equal([*found.values()], np.zeros((2, 2)))


def test_gradients_too_small_to_square_have_their_share():
    model = discriminator()
    found, tiny = (
        kernel_gradients.measure(model, lambda s=s: s * objective(model))
        for s in (1.0, 2.0**-90)
    )
    for name in found:
        np.testing.assert_allclose(tiny[name].share, found[name].share, 1e-5)


# Of a GAN.


def build(num_classes=None, name="cnn", method="spectral_norm", **kwargs):
    networks = small.build(name, (8, 8, 1), LATENTS, 1.0, method, num_classes)
    gan = GAN(*networks, num_classes=num_classes, **kwargs)
    gan.compile("sgd", "sgd")
    return gan


def batch(count, num_classes=None):
    random = np.random.default_rng(2)
    images = random.integers(0, 256, (count, 8, 8, 1), "uint8")
    if not num_classes:
        return images
    return images, random.integers(0, num_classes, count, "int32")


@pytest.mark.parametrize(
    ("num_classes", "name", "method", "kernels"),
    [
        (None, "cnn", "spectral_norm", 2),
        (3, "resnet_projection", "spectral_norm", 3),
        (3, "acgan_resnet", "spectral_norm", 3),
        (None, "cnn", "keras_spectral_norm", 2),
        (3, "resnet_projection", "none", 3),
        (3, "resnet_projection", "weight_norm", 3),
    ],
)
def test_gan_is_measured_by_seed_and_step_alone(
    num_classes, name, method, kernels
):
    gan = build(num_classes, name, method, seed=5)
    data = batch(6, num_classes)
    measure = tf.function(lambda: gan.kernel_gradients(data))
    before = [variable.numpy() for variable in gan.variables]
    first, again = measure(), measure()
    for a, b in zip(before, gan.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(first) == kernels
    assert first == again
    gan.step.assign(7)
    other = measure()
    # Of the kernel of class logits both are 0: d_loss is without these.
    assert sum(other[name] != first[name] for name in first) >= 2
    assert all(
        other[name] != first[name] or not any(first[name]) for name in first
    )
    assert measure.experimental_get_tracing_count() == 1


def test_objective_is_that_of_held_out_images():
    """Whose logits without biases are of first degree in each kernel."""
    gan = build(loss="wasserstein")
    data = batch(6)
    d_loss = gan.evaluate(data, batch_size=6, verbose=0, return_dict=True)
    for gradient in gan.kernel_gradients(data).values():
        assert float(gradient.strength) == pytest.approx(
            -d_loss["d_loss"], rel=1e-4
        )


def test_float16_loses_no_small_gradients():
    wasserstein = losses.get("wasserstein")
    tiny = losses.Loss(
        lambda *logits: wasserstein.discriminator(*logits) * 2.0**-22,
        wasserstein.generator,
    )

    def measured(policy):
        keras.config.set_dtype_policy(policy)
        try:
            gan = build(loss=tiny)
        finally:
            keras.config.set_dtype_policy("float32")
        return gan.kernel_gradients(batch(6))

    keras.utils.set_random_seed(1)
    half = measured("mixed_float16")
    keras.utils.set_random_seed(1)
    for name, expected in measured("float32").items():
        assert float(half[name].strength) == pytest.approx(
            float(expected.strength), rel=0.05
        )
        assert float(half[name].share) == pytest.approx(
            float(expected.share), rel=0.05
        )


@pytest.mark.parametrize("method", ["spectral_norm", "none", "weight_norm"])
def test_gan_of_two_replicas_is_measured_as_of_one(two_replicas, method):
    def measured(scope):
        keras.utils.set_random_seed(3)
        with scope:
            gan = build(method=method)
        return tf.function(lambda: gan.kernel_gradients(batch(6)))()

    one = measured(contextlib.nullcontext())
    for name, found in measured(two_replicas.scope()).items():
        np.testing.assert_allclose(found, one[name], rtol=1e-5)
