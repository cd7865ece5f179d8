"""The networks of torch-fidelity's `examples/sngan_cifar10.py`, in Keras.

Its discriminator is that of Table 3. Its generator has transposed convolutions
for Table 3's dense layer and last convolution, and batch norm after the first.
"""

import keras
from keras import layers

from sngan_tf import networks

# PyTorch's defaults, which the example runs with; Keras counts the decay.
_BATCH_NORM = {"momentum": 0.9, "epsilon": 1e-5}


def build(image_shape, width, method):
    """Returns `(generator, discriminator)` for pictures of 32 pixels."""
    _, discriminator = networks.build(
        "cnn", image_shape, width=width, method=method
    )
    return generator(image_shape, width), discriminator


def generator(image_shape, width=1.0, latent_dim=128):
    """Returns the generator: latents to images in [-1, 1]."""
    latents = keras.Input((latent_dim,))
    x = layers.Reshape((1, 1, latent_dim))(latents)
    for maps, strides, padding in (
        (512, 1, "valid"),
        (256, 2, "same"),
        (128, 2, "same"),
        (64, 2, "same"),
    ):
        maps = max(1, round(maps * width))
        x = layers.Conv2DTranspose(maps, 4, strides, padding)(x)
        x = layers.BatchNormalization(**_BATCH_NORM)(x)
        x = layers.ReLU()(x)
    images = layers.Conv2DTranspose(
        image_shape[-1], 3, padding="same", activation="tanh"
    )(x)
    return keras.Model(latents, images)
