"""Generators and discriminators of the paper, by name.

Functional models on any Keras backend; nothing here trains them.
"""

import dataclasses
import functools
from collections.abc import Callable

import keras
from keras import layers

from sngan_tf import types
from sngan_tf.gan import methods
from sngan_tf.layers import ConditionalBatchNormalization
from sngan_tf.layers import kernels
from sngan_tf.networks import cnn
from sngan_tf.networks import resnet


@dataclasses.dataclass(frozen=True)
class Network:
    """A pair of networks.

    Attributes:
        generator: `(image_shape, latent_dim, width, [num_classes])` to a model.
        discriminator: `(image_shape, width, method, [num_classes])` to a model.
        check_image_shape: Raises a ValueError on a shape they can't take.
        conditional: Whether they use labels, and take `num_classes`.
    """

    generator: Callable[..., keras.Model]
    discriminator: Callable[..., keras.Model]
    check_image_shape: Callable[[types.Shape], None]
    conditional: bool = False


def _resnet(conditioning=None, stacks=resnet.STACKS):
    return Network(
        functools.partial(resnet.generator, stacks=stacks),
        functools.partial(
            resnet.discriminator, conditioning=conditioning, stacks=stacks
        ),
        functools.partial(resnet.check_image_shape, stacks=stacks),
        conditional=conditioning is not None,
    )


NETWORKS = {
    "cnn": Network(cnn.generator, cnn.discriminator, cnn.check_image_shape),
    "resnet": _resnet(),
    "resnet_concat": _resnet("concat"),
    "resnet_projection": _resnet("projection"),
    "gulrajani_resnet": _resnet(stacks=resnet.GULRAJANI),
    "acgan_resnet": _resnet("auxiliary_classifier", resnet.GULRAJANI),
}


def build(
    name: str,
    image_shape: types.Shape,
    latent_dim: int = 128,
    width: float = 1.0,
    method: str | methods.Method = "spectral_norm",
    num_classes: int | None = None,
    discriminator_width: float = 1.0,
    last_width: float = 1.0,
) -> tuple[keras.Model, keras.Model]:
    """Builds a generator and a discriminator.

    ===================  =====================================  ===============
    name                 networks                               picture sizes
    ===================  =====================================  ===============
    `cnn`                Table 3                                divisible by 8
    `resnet`             Tables 4, 5 and 6a-b                   32, 48, 64, 128
    `resnet_concat`      Table 6c, conditional                  32, 48, 64, 128
    `resnet_projection`  projection discriminator, conditional  32, 48, 64, 128
    `gulrajani_resnet`   Table 7                                32
    `acgan_resnet`       Table 8, conditional                   32
    ===================  =====================================  ===============

    The paper and the authors' code have `resnet_concat` at 128 pixels and
    `resnet_projection` at 32, 64 and 128; at other sizes they are the same
    change to the network of that size.

    Args:
        name: A key of `NETWORKS`, as above.
        image_shape: `(height, width, channels)` of the pictures.
        latent_dim: Size of the latents, d_z.
        width: Factor on every number of feature maps.
        method: A row of `methods.METHODS`, or a `methods.Method`, applied to
            the discriminator.
        num_classes: Number of classes for conditional networks, else None.
        discriminator_width: A further factor on the discriminator's maps;
            1.5 in rows of Tables 7 and 8.
        last_width: A further one on those into and out of its last
            convolution, 0.5 to 8 in Fig. 4; of `cnn` alone.

    Returns:
        `(generator, discriminator)`, two Keras models: latents
        `(batch, latent_dim)` to images in [-1, 1], and images to logits
        `(batch, 1)`. Conditional generators, and discriminators with
        concatenation or projection, take int32 labels `(batch,)` as a second
        input; one with an auxiliary classifier has class logits
        `(batch, num_classes)` as a second output.

    Raises:
        ValueError: On an unknown name or method, or sizes out of range.
    """
    check(name, image_shape, latent_dim, width, discriminator_width, last_width)
    method = methods.get(method)
    network = NETWORKS[name]
    if network.conditional != (num_classes is not None):
        rule = "given" if network.conditional else "None"
        raise ValueError(
            f"`num_classes` must be {rule} for the network {name}. "
            f"Received: num_classes={num_classes}"
        )
    classes = {}
    if num_classes is not None:
        if num_classes < 2:
            raise ValueError(
                "`num_classes` must be 2 or more. "
                f"Received: num_classes={num_classes}"
            )
        classes["num_classes"] = num_classes
    of_last = {"last_width": last_width} if name == "cnn" else {}
    return (
        network.generator(image_shape, latent_dim, width, **classes),
        network.discriminator(
            image_shape,
            width * discriminator_width,
            method,
            **classes,
            **of_last,
        ),
    )


def synchronize_batch_norm(model: keras.Model) -> None:
    """Makes batch norm take the statistics of all replicas, as one has them.

    Only on TensorFlow, as Keras's own `synchronized`.
    """
    kinds = (layers.BatchNormalization, ConditionalBatchNormalization)
    for layer in kernels.sublayers(model):
        if isinstance(layer, kinds):
            layer.synchronized = True


def check(
    name: str,
    image_shape: types.Shape,
    latent_dim: int = 128,
    width: float = 1.0,
    discriminator_width: float = 1.0,
    last_width: float = 1.0,
) -> None:
    """Raises the ValueErrors of `build` that need no number of classes."""
    if name not in NETWORKS:
        raise ValueError(
            f"`name` must be one of {', '.join(NETWORKS)}. "
            f"Received: name={name}"
        )
    sizes = {
        "latent_dim": latent_dim,
        "width": width,
        "discriminator_width": discriminator_width,
        "last_width": last_width,
    }
    if latent_dim < 1 or min(sizes.values()) <= 0:
        raise ValueError(
            f"{', '.join(f'`{size}`' for size in sizes)} must be positive. "
            f"Received: {', '.join(f'{k}={v}' for k, v in sizes.items())}"
        )
    if last_width != 1 and name != "cnn":
        raise ValueError(
            "`last_width` must be 1 with networks other than cnn. "
            f"Received: last_width={last_width}, name={name}"
        )
    NETWORKS[name].check_image_shape(image_shape)
