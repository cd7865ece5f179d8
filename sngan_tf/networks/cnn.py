"""The standard CNN of Table 3, for any picture size divisible by 8."""

import keras
from keras import initializers
from keras import layers

from sngan_tf.gan import methods
from sngan_tf.networks import blocks

_LEAKY_SLOPE = 0.1
_DOWNSAMPLING = 8


def check_image_shape(image_shape):
    """Raises a ValueError unless `(height, width, channels)` fits Table 3."""
    height, width, channels = image_shape
    if min(image_shape) < 1 or height % 8 or width % 8:
        raise ValueError(
            "The cnn networks need a height and width divisible by "
            f"{_DOWNSAMPLING} and at least 1 channel. Received: "
            f"image_shape={(height, width, channels)}"
        )


def generator(image_shape, latent_dim=128, width=1.0):
    """Builds the generator of Table 3a.

    Latents `(batch, latent_dim)` in, images `(batch, height, width, channels)`
    in [-1, 1] out. As in the table, no normalization follows the dense layer.

    Args:
        image_shape: `(height, width, channels)`, sides divisible by 8.
        latent_dim: Size of the latents, d_z.
        width: Factor on every number of feature maps.
    """
    check_image_shape(image_shape)
    height, image_width, channels = image_shape
    base = (
        height // _DOWNSAMPLING,
        image_width // _DOWNSAMPLING,
        blocks.maps(512, width),
    )
    latents = keras.Input((latent_dim,), name="latents")
    x = layers.Dense(
        base[0] * base[1] * base[2], kernel_initializer=_init(), name="dense"
    )(latents)
    x = layers.Reshape(base, name="reshape")(x)
    for i, maps in enumerate((256, 128, 64), start=1):
        x = layers.Conv2DTranspose(
            blocks.maps(maps, width),
            4,
            strides=2,
            padding="same",
            kernel_initializer=_init(),
            name=f"deconv_{i}",
        )(x)
        x = layers.BatchNormalization(
            **blocks.BATCH_NORM, name=f"batch_norm_{i}"
        )(x)
        x = layers.ReLU(name=f"relu_{i}")(x)
    x = layers.Conv2D(
        channels, 3, padding="same", kernel_initializer=_init(), name="conv"
    )(x)
    # Pictures stay float32 under every dtype policy.
    images = layers.Activation("tanh", dtype="float32", name="images")(x)
    return keras.Model(latents, images, name="generator")


def discriminator(image_shape, width=1.0, method="none", last_width=1.0):
    """Builds the discriminator of Table 3b.

    Images `(batch, height, width, channels)` in [-1, 1] in, float32 logits
    `(batch, 1)` out. A method that normalises feature maps does so after
    every convolution but the first, as the authors' code does for batch norm.

    Args:
        image_shape: `(height, width, channels)`, sides divisible by 8.
        width: Factor on every number of feature maps.
        method: A row of `methods.METHODS`, or a `Method`.
        last_width: A further factor on the maps into and out of the last
            convolution (Fig. 4).
    """
    check_image_shape(image_shape)
    method = methods.get(method)
    images = keras.Input(image_shape, name="images")
    x = images
    stages = (
        (64, 3),
        (64, 4),
        (128, 3),
        (128, 4),
        (256, 3),
        (256, 4),
        (512, 3),
    )
    for i, (maps, kernel_size) in enumerate(stages, start=1):
        is_last = i > len(stages) - 2
        conv = layers.Conv2D(
            blocks.maps(maps, width * (last_width if is_last else 1.0)),
            kernel_size,
            strides=1 if kernel_size == 3 else 2,
            padding="same",
            kernel_initializer=_init(),
            name=f"conv_{i}",
        )
        x = method.wrap(conv)(x)
        if i > 1:
            x = method.normalize(x, f"norm_{i}")
        x = layers.LeakyReLU(_LEAKY_SLOPE, name=f"leaky_relu_{i}")(x)
    x = layers.Flatten(name="flatten")(x)
    dense = layers.Dense(1, kernel_initializer=_init(), name="dense")
    x = method.wrap(dense)(x)
    logits = layers.Activation("linear", dtype="float32", name="logits")(x)
    return keras.Model(images, logits, name="discriminator")


def _init():
    # Not stated in the paper; the authors' CNN code has N(0, 0.02).
    return initializers.RandomNormal(stddev=0.02)
