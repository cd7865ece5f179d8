import keras
import numpy as np
import pytest

from sngan_tf import networks
from sngan_tf.layers import spectral_normalization
from sngan_tf.layers import spectral_norms


# Counts of the paper's networks with biases and batch norm's two vectors;
# batch norm's moving statistics and `u` are not parameters.
@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("size", "generator_count", "discriminator_count"),
    [(32, 3_812_355, 2_935_873), (48, 5_133_315, 2_946_113)],
)
def test_parameter_counts_of_table_3(
    size, generator_count, discriminator_count
):
    for method in ("spectral_norm", "none"):
        generator, discriminator = networks.build(
            "cnn", (size, size, 3), method=method
        )
        assert count(generator.trainable_weights) == generator_count
        assert count(discriminator.trainable_weights) == discriminator_count


def count(weights):
    return sum(int(np.prod(weight.shape)) for weight in weights)


@pytest.mark.one_backend
@pytest.mark.parametrize("shape", [(8, 8, 1), (16, 24, 3), (40, 8, 2)])
@pytest.mark.parametrize("width", [1 / 32, 1 / 8])
def test_shapes_for_any_size_divisible_by_8(shape, width):
    generator, discriminator = networks.build(
        "cnn", shape, latent_dim=5, width=width
    )
    images = generator(keras.random.normal((2, 5)))
    assert images.shape == (2, *shape)
    assert np.abs(images).max() <= 1.0
    assert discriminator(images).shape == (2, 1)


@pytest.mark.one_backend
def test_width_multiplies_every_number_of_maps():
    _, discriminator = networks.build("cnn", (16, 16, 1), width=0.25)
    kernels = [w for w in discriminator.weights if w.name == "kernel"]
    maps = [kernel.shape[-1] for kernel in kernels]
    assert maps == [16, 16, 32, 32, 64, 64, 128, 1]


@pytest.mark.one_backend
def test_spectral_norm_wraps_every_weight_of_the_discriminator_only():
    _, discriminator = networks.build("cnn", (16, 16, 1), width=0.1)
    with_weights = [layer for layer in discriminator.layers if layer.weights]
    assert len(with_weights) == 8
    for layer in with_weights:
        assert isinstance(layer, spectral_normalization.SpectralNormalization)
    norms = spectral_norms(discriminator)
    assert list(norms) == [*(f"conv_{i}" for i in range(1, 8)), "dense"]
    assert list(norms.values()) == pytest.approx([1.0] * 8, rel=3e-2)


@pytest.mark.one_backend
def test_normalised_discriminator_is_the_plain_one_on_normalised_kernels():
    _, normalised = networks.build("cnn", (8, 8, 1), width=0.1)
    _, plain = networks.build("cnn", (8, 8, 1), width=0.1, method="none")
    layers = [layer for layer in normalised.layers if layer.weights]
    plain.set_weights(
        [
            weight
            for layer in layers
            for weight in (layer.normalized_kernel(), layer.layer.bias)
        ]
    )
    images = keras.random.normal((4, 8, 8, 1))
    np.testing.assert_allclose(plain(images), normalised(images), rtol=1e-5)


def test_discriminator_slope_of_table_3_is_a_tenth():
    _, discriminator = networks.build("cnn", (8, 8, 1), width=0.1)
    slopes = [
        layer.negative_slope
        for layer in discriminator.layers
        if isinstance(layer, keras.layers.LeakyReLU)
    ]
    assert slopes == [0.1] * 7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "vgg"}, "`name` must be one of cnn, resnet"),
        ({"image_shape": (20, 16, 1)}, "divisible by 8"),
        ({"image_shape": (16, 16, 0)}, "at least 1 channel"),
        ({"latent_dim": 0}, "latent_dim=0"),
        ({"width": -1.0}, "width=-1.0"),
        ({"discriminator_width": 0.0}, "discriminator_width=0.0"),
        ({"method": "magic"}, "`method` must be one of none, weight_clipping"),
        ({"num_classes": 10}, "must be None for the network cnn.*=10"),
    ],
)
def test_bad_arguments_name_themselves(arguments, message):
    with pytest.raises(ValueError, match=message):
        networks.build(**{"name": "cnn", "image_shape": (8, 8, 1), **arguments})


@pytest.mark.parametrize(
    ("name", "shape", "num_classes", "message"),
    [
        ("resnet", (40, 40, 3), None, "32, 48, 64, 128 pixels.*40, 40, 3"),
        ("resnet", (32, 48, 3), None, "square pictures"),
        ("gulrajani_resnet", (48, 48, 3), None, "of 32 pixels"),
        ("resnet_projection", (32, 32, 3), None, "must be given.*=None"),
        ("resnet_projection", (32, 32, 3), 1, "2 or more.*num_classes=1"),
        ("resnet", (32, 32, 3), 10, "must be None for the network resnet"),
    ],
)
def test_resnets_refuse_what_they_cannot_take(
    name, shape, num_classes, message
):
    with pytest.raises(ValueError, match=message):
        networks.build(name, shape, num_classes=num_classes)
