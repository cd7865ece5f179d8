"""Generators and discriminators of the paper, by name."""

from sngan_tf import methods
from sngan_tf.networks import cnn

NETWORKS = {"cnn": cnn}


def build(
    name,
    image_shape,
    latent_dim=128,
    width=1.0,
    method="spectral_norm",
    num_classes=None,
):
    """Builds a generator and a discriminator.

    Args:
        name: `"cnn"`, the networks of Table 3.
        image_shape: `(height, width, channels)` of the pictures.
        latent_dim: Size of the latents, d_z.
        width: Factor on every number of feature maps.
        method: A row of `methods.METHODS`, applied to the discriminator.
        num_classes: Must be None: these networks are unconditional.

    Returns:
        `(generator, discriminator)`, two Keras models: latents
        `(batch, latent_dim)` to images in [-1, 1], and images to logits
        `(batch, 1)`.

    Raises:
        ValueError: On an unknown name or method, or sizes out of range.
    """
    check(name, image_shape, latent_dim, width, num_classes)
    wrapper = methods.get(method).wrapper
    module = NETWORKS[name]
    return (
        module.generator(image_shape, latent_dim, width),
        module.discriminator(image_shape, width, wrapper),
    )


def check(name, image_shape, latent_dim=128, width=1.0, num_classes=None):
    """Raises the ValueErrors of `build` without building anything."""
    if name not in NETWORKS:
        raise ValueError(
            f"`name` must be one of {', '.join(NETWORKS)}. "
            f"Received: name={name}"
        )
    if latent_dim < 1 or width <= 0:
        raise ValueError(
            "`latent_dim` and `width` must be positive. Received: "
            f"latent_dim={latent_dim}, width={width}"
        )
    if num_classes is not None:
        raise ValueError(
            f"The {name} networks are unconditional: `num_classes` must be "
            f"None. Received: num_classes={num_classes}"
        )
    NETWORKS[name].check_image_shape(image_shape)
