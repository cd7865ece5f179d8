import keras
import numpy as np
import pytest

from sngan_tf import networks

BATCH_NORM_EPSILON = 2e-5


def trainable_parameters(*args, **kwargs):
    """Returns how many a generator and a discriminator have."""
    # Shapes alone: the values may be a quarter of a gigabyte.
    with keras.StatelessScope(initialize_variables=False):
        pair = networks.build(*args, method="none", **kwargs)
    return [
        sum(int(np.prod(w.shape)) for w in model.trainable_weights)
        for model in pair
    ]


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("name", "size", "num_classes", "generator", "discriminator"),
    [
        ("resnet", 32, None, 4_276_739, 1_053_824),
        ("resnet", 48, None, 4_878_083, 10_141_441),
        ("resnet", 128, None, 32_150_787, 29_017_857),
        ("resnet_concat", 128, 1000, None, 30_538_625),
        ("resnet_projection", 128, 1000, None, 30_041_857),
        # The embedding of 10 classes beside the 1,053,824 of Table 4.
        ("resnet_projection", 32, 10, None, 1_053_824 + 10 * 128),
        # With a bias, and a second dense layer.
        ("gulrajani_resnet", 32, None, None, 1_053_824 + 1),
        ("acgan_resnet", 32, 10, None, 1_053_824 + 1 + 129 * 10),
    ],
)
def test_parameters_are_those_of_the_paper(
    name, size, num_classes, generator, discriminator
):
    made, judged = trainable_parameters(
        name, (size, size, 3), num_classes=num_classes
    )
    assert judged == discriminator
    assert generator in (None, made)


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("size", "maps"),
    [
        (32, [256, 256, 256]),
        (48, [256, 128, 64]),
        (64, [512, 256, 128, 64]),
        (128, [1024, 512, 256, 128, 64]),
    ],
)
def test_conditional_generator_has_a_row_of_each_class(size, maps):
    def count(num_classes):
        name = "resnet_projection" if num_classes else "resnet"
        return trainable_parameters(
            name, (size, size, 3), width=1 / 16, num_classes=num_classes
        )[0]

    # Each block normalises what comes in and, after its convolution, its own.
    dense = {32: 256, 48: 512, 64: 1024, 128: 1024}[size]
    normalised = sum(maps) + dense + sum(maps[:-1])
    assert count(5) - count(None) == 4 * 2 * normalised / 16


@pytest.mark.one_backend
@pytest.mark.parametrize("size", [32, 48, 64, 128])
def test_sizes_go_from_4_or_6_to_the_picture_and_back(size):
    generator, discriminator = networks.build(
        "resnet", (size, size, 3), width=1 / 64, method="none"
    )
    base = 6 if size == 48 else 4
    assert generator.get_layer("reshape").output.shape[1] == base
    ends = {32: 8, 48: 3, 64: 2, 128: 4}
    assert discriminator.get_layer("relu").output.shape[1] == ends[size]
    images = generator(keras.random.normal((2, 128)))
    assert images.shape == (2, size, size, 3)
    assert np.abs(images).max() <= 1.0
    assert discriminator(images).shape == (2, 1)


@pytest.mark.one_backend
def test_discriminator_width_is_a_factor_on_its_maps_alone():
    networks_of = {
        factor: networks.build(
            "gulrajani_resnet",
            (32, 32, 3),
            width=0.5,
            method="none",
            discriminator_width=factor,
        )
        for factor in (1.0, 1.5)
    }
    kernels = {
        factor: [
            discriminator.get_layer(f"block_{i}_conv_2").kernel.shape[-1]
            for i in range(1, 5)
        ]
        for factor, (_, discriminator) in networks_of.items()
    }
    assert kernels == {1.0: [64] * 4, 1.5: [96] * 4}
    assert [w.shape for w in networks_of[1.0][0].weights] == [
        w.shape for w in networks_of[1.5][0].weights
    ]


# The blocks, against NumPy.


def numpy_conv(x, layer):
    """Convolution that keeps the size, as a sum over the kernel's taps."""
    kernel, bias = (np.asarray(w, "float64") for w in layer.get_weights())
    reach = kernel.shape[0] // 2
    padded = np.pad(x, [(0, 0), (reach, reach), (reach, reach), (0, 0)])
    height, width = x.shape[1:3]
    return bias + sum(
        padded[:, i : i + height, j : j + width] @ kernel[i, j]
        for i in range(kernel.shape[0])
        for j in range(kernel.shape[1])
    )


def numpy_relu(x):
    return np.maximum(x, 0.0)


def numpy_pool(x):
    n, height, width, channels = x.shape
    return x.reshape(n, height // 2, 2, width // 2, 2, channels).mean((2, 4))


def numpy_dense(x, layer):
    weights = [np.asarray(w, "float64") for w in layer.get_weights()]
    return x @ weights[0] + (weights[1] if len(weights) == 2 else 0.0)


def randomise(model):
    random = np.random.default_rng(0)
    for weight in model.weights:
        values = random.normal(0.0, 0.3, weight.shape)
        positive = "variance" in weight.name
        weight.assign(np.abs(values) + 0.5 if positive else values)


def numpy_trunk(x, get, blocks=4):
    """Features of the discriminators for 32 pixels, before their ReLU."""
    for i in range(1, blocks + 1):
        name = f"block_{i}"
        residual = x if i == 1 else numpy_relu(x)
        residual = numpy_conv(residual, get(f"{name}_conv_1"))
        residual = numpy_relu(residual)
        residual = numpy_conv(residual, get(f"{name}_conv_2"))
        shortcut = x
        if i == 1:
            shortcut = numpy_conv(numpy_pool(x), get(f"{name}_shortcut"))
        elif i == 2:
            shortcut = numpy_pool(numpy_conv(x, get(f"{name}_shortcut")))
        x = shortcut + (numpy_pool(residual) if i <= 2 else residual)
    return x


def discriminator_of(name, num_classes=None):
    _, discriminator = networks.build(
        name,
        (32, 32, 2),
        width=1 / 32,
        method="none",
        num_classes=num_classes,
    )
    randomise(discriminator)
    return discriminator


def images(count=3):
    return np.random.default_rng(1).uniform(-1, 1, (count, 32, 32, 2))


def test_discriminator_is_its_formula():
    discriminator = discriminator_of("resnet")
    x = numpy_relu(numpy_trunk(images(), discriminator.get_layer))
    expected = numpy_dense(x.sum((1, 2)), discriminator.get_layer("dense"))
    np.testing.assert_allclose(discriminator(images()), expected, rtol=1e-4)


def test_projection_adds_the_inner_product_with_the_label():
    discriminator = discriminator_of("resnet_projection", num_classes=4)
    get = discriminator.get_layer
    labels = np.array([3, 0, 3], "int32")
    features = numpy_relu(numpy_trunk(images(), get)).sum((1, 2))
    rows = np.asarray(get("embedding").get_weights()[0], "float64")[labels]
    expected = numpy_dense(features, get("dense"))
    expected += (rows * features).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(
        discriminator([images(), labels]), expected, rtol=1e-4
    )


def test_auxiliary_classifier_shares_the_mean_of_the_features():
    discriminator = discriminator_of("acgan_resnet", num_classes=4)
    get = discriminator.get_layer
    features = numpy_relu(numpy_trunk(images(), get)).mean((1, 2))
    logits, class_logits = discriminator(images())
    np.testing.assert_allclose(
        logits, numpy_dense(features, get("dense")), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(
        class_logits,
        numpy_dense(features, get("classifier")),
        rtol=1e-4,
        atol=1e-5,
    )


def test_label_is_concatenated_after_the_third_block():
    discriminator = discriminator_of("resnet_concat", num_classes=4)
    get = discriminator.get_layer
    labels = np.array([3, 0, 3], "int32")
    x = numpy_trunk(images(), get, blocks=3)
    rows = np.asarray(get("embedding").get_weights()[0], "float64")[labels]
    assert rows.shape == (3, 128 // 32)
    tiled = np.broadcast_to(rows[:, None, None], (*x.shape[:3], 4))
    x = np.concatenate([x, tiled], axis=-1)
    residual = numpy_conv(numpy_relu(x), get("block_4_conv_1"))
    assert residual.shape[-1] == x.shape[-1]
    residual = numpy_conv(numpy_relu(residual), get("block_4_conv_2"))
    x = numpy_relu(residual + numpy_conv(x, get("block_4_shortcut")))
    expected = numpy_dense(x.sum((1, 2)), get("dense"))
    np.testing.assert_allclose(
        discriminator([images(), labels]), expected, rtol=1e-4
    )


def test_conditional_generator_is_its_formula():
    generator, _ = networks.build(
        "resnet_projection",
        (32, 32, 2),
        latent_dim=5,
        width=1 / 64,
        num_classes=3,
    )
    randomise(generator)
    get = generator.get_layer
    latents = np.random.default_rng(1).normal(size=(4, 5))
    labels = np.array([2, 0, 1, 2], "int32")

    def normalise(x, gamma, beta, mean, variance):
        return (x - mean) / np.sqrt(
            variance + BATCH_NORM_EPSILON
        ) * gamma + beta

    def conditional(x, name):
        layer = get(name)
        inner = layer.normalization
        gamma, beta = (
            np.asarray(w)[labels][:, None, None]
            for w in (layer.gamma, layer.beta)
        )
        return normalise(
            x,
            gamma,
            beta,
            np.asarray(inner.moving_mean),
            np.asarray(inner.moving_variance),
        )

    def double(x):
        return x.repeat(2, axis=1).repeat(2, axis=2)

    x = numpy_dense(latents, get("dense")).reshape(4, 4, 4, 4)
    for i in (1, 2, 3):
        name = f"block_{i}"
        residual = double(numpy_relu(conditional(x, f"{name}_bn_1")))
        residual = numpy_conv(residual, get(f"{name}_conv_1"))
        residual = numpy_relu(conditional(residual, f"{name}_bn_2"))
        residual = numpy_conv(residual, get(f"{name}_conv_2"))
        x = residual + numpy_conv(double(x), get(f"{name}_shortcut"))
    weights = [np.asarray(w) for w in get("batch_norm").get_weights()]
    x = numpy_conv(numpy_relu(normalise(x, *weights)), get("conv"))
    np.testing.assert_allclose(
        generator([latents, labels]), np.tanh(x), rtol=1e-3, atol=1e-4
    )


def test_convolutions_start_at_glorot_times_their_gain():
    generator, discriminator = networks.build(
        "resnet", (32, 32, 3), width=0.5, method="none"
    )
    for model in (generator, discriminator):
        for layer in model.layers:
            if not isinstance(layer, keras.layers.Conv2D):
                continue
            kernel = layer.kernel.numpy()
            taps, (inside, outside) = kernel[..., 0, 0].size, kernel.shape[2:]
            in_block = layer.name.endswith(("conv_1", "conv_2"))
            gain = 2**0.5 if in_block else 1.0
            limit = gain * np.sqrt(6 / (taps * (inside + outside)))
            assert np.abs(kernel).max() <= limit
            assert kernel.std() == pytest.approx(limit / 3**0.5, rel=0.1)
