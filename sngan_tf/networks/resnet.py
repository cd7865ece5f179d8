"""The ResNets of Tables 4 to 6, and what makes them conditional."""

import dataclasses

import keras
from keras import layers
from keras import ops

from sngan_tf.gan import methods
from sngan_tf.networks import blocks

# The label embedding that is concatenated (Table 6c), and the block after
# which it is.
_EMBEDDED = 128
_CONCATENATED_AFTER = 3


@dataclasses.dataclass(frozen=True)
class Stack:
    """Feature maps of the networks of one picture size.

    Attributes:
        dense: Maps of the generator's first, dense layer.
        generator: Maps of each of its blocks, which all double the size.
        discriminator: `(maps, down)` of each block; the first is always down.
        output_bias: Whether the discriminator's last layer has a bias. It has
            none in the authors' code for 32 pixels.
        sum_pooling: Whether the discriminator sums over positions at its end
            rather than takes the mean.
    """

    dense: int
    generator: tuple
    discriminator: tuple
    output_bias: bool = True
    sum_pooling: bool = True


STACKS = {
    # Table 4, CIFAR-10.
    32: Stack(
        dense=256,
        generator=(256, 256, 256),
        discriminator=((128, True), (128, True), (128, False), (128, False)),
        output_bias=False,
    ),
    # Table 5, STL-10.
    48: Stack(
        dense=512,
        generator=(256, 128, 64),
        discriminator=(
            (64, True),
            (128, True),
            (256, True),
            (512, True),
            (1024, False),
        ),
    ),
    # The authors' code for the projection discriminator.
    64: Stack(
        dense=1024,
        generator=(512, 256, 128, 64),
        discriminator=(
            (64, True),
            (128, True),
            (256, True),
            (512, True),
            (1024, True),
        ),
    ),
    # Table 6, ImageNet.
    128: Stack(
        dense=1024,
        generator=(1024, 512, 256, 128, 64),
        discriminator=(
            (64, True),
            (128, True),
            (256, True),
            (512, True),
            (1024, True),
            (1024, False),
        ),
    ),
}
# The ResNet of WGAN-GP (Gulrajani et al., 2017, their CIFAR-10 code), the
# baseline of Tables 7 and 8: half the generator's maps, and mean pooling.
GULRAJANI = {
    32: Stack(
        dense=128,
        generator=(128, 128, 128),
        discriminator=((128, True), (128, True), (128, False), (128, False)),
        sum_pooling=False,
    )
}


def check_image_shape(image_shape, stacks=None):
    """Raises a ValueError unless there is a stack for `image_shape`."""
    height, width, channels = image_shape
    stacks = STACKS if stacks is None else stacks
    if height != width or height not in stacks or channels < 1:
        raise ValueError(
            "These resnet networks take square pictures of "
            f"{', '.join(map(str, stacks))} pixels a side. Received: "
            f"image_shape={(height, width, channels)}"
        )


def generator(
    image_shape, latent_dim=128, width=1.0, num_classes=None, stacks=None
):
    """Builds a generator of Tables 4 to 6.

    Latents `(batch, latent_dim)`, and labels `(batch,)` if conditional, in;
    images `(batch, height, width, channels)` in [-1, 1] out.

    Args:
        image_shape: `(size, size, channels)`, the size a key of `stacks`.
        latent_dim: Size of the latents, d_z.
        width: Factor on every number of feature maps.
        num_classes: If given, batch norm inside the blocks is conditional
            on a label; that after them is not.
        stacks: `{size: Stack}`, by default `STACKS`.
    """
    stacks = STACKS if stacks is None else stacks
    check_image_shape(image_shape, stacks)
    size, _, channels = image_shape
    stack = stacks[size]
    base = size // 2 ** len(stack.generator)
    inputs = latents = keras.Input((latent_dim,), name="latents")
    labels = None
    if num_classes is not None:
        labels = keras.Input((), dtype="int32", name="labels")
        inputs = [latents, labels]
    dense_maps = blocks.maps(stack.dense, width)
    x = layers.Dense(
        base * base * dense_maps,
        kernel_initializer=blocks.glorot(),
        name="dense",
    )(latents)
    x = layers.Reshape((base, base, dense_maps), name="reshape")(x)
    for i, maps in enumerate(stack.generator, start=1):
        x = blocks.generator_block(
            x, blocks.maps(maps, width), f"block_{i}", labels, num_classes
        )
    x = layers.BatchNormalization(**blocks.BATCH_NORM, name="batch_norm")(x)
    x = layers.ReLU(name="relu")(x)
    x = blocks.conv(channels, 3, name="conv")(x)
    # Pictures stay float32 under every dtype policy.
    images = layers.Activation("tanh", dtype="float32", name="images")(x)
    return keras.Model(inputs, images, name="generator")


def discriminator(
    image_shape,
    width=1.0,
    method="none",
    num_classes=None,
    conditioning=None,
    stacks=None,
):
    """Builds a discriminator of Tables 4 to 6.

    Images `(batch, height, width, channels)` in [-1, 1] in, float32 logits
    `(batch, 1)` out. How it uses labels:

    - `None`: not at all.
    - `"concat"` (Table 6c): labels `(batch,)`, a second input, are embedded in
      128 dimensions, tiled and concatenated to the maps after the third block.
    - `"projection"` (Miyato & Koyama, 2018): the inner product of the pooled
      features and an embedding of the labels, a second input, is added to the
      logits.
    - `"auxiliary_classifier"` (Table 8): a second output, class logits
      `(batch, num_classes)`.

    Args:
        image_shape: `(size, size, channels)`, the size a key of `stacks`.
        width: Factor on every number of feature maps.
        method: A row of `methods.METHODS`, or a `Method`; it holds for every
            layer with weights, embeddings too.
        num_classes: Number of classes, with `conditioning`.
        conditioning: One of the above.
        stacks: `{size: Stack}`, by default `STACKS`.
    """
    stacks = STACKS if stacks is None else stacks
    check_image_shape(image_shape, stacks)
    method = methods.get(method)
    stack = stacks[image_shape[0]]
    inputs = images = keras.Input(image_shape, name="images")
    if conditioning in ("concat", "projection"):
        labels = keras.Input((), dtype="int32", name="labels")
        inputs = [images, labels]
    x = images
    for i, (number, down) in enumerate(stack.discriminator, start=1):
        number = blocks.maps(number, width)
        if i == 1:
            x = blocks.first_discriminator_block(x, number, "block_1", method)
        else:
            x = blocks.discriminator_block(
                x, number, down, f"block_{i}", method
            )
        if conditioning == "concat" and i == _CONCATENATED_AFTER:
            embedded = _embed(
                labels, num_classes, blocks.maps(_EMBEDDED, width), method
            )
            x = _concatenate(x, embedded)
    x = layers.ReLU(name="relu")(x)
    pool = ops.sum if stack.sum_pooling else ops.mean
    x = pool(x, axis=(1, 2))
    outputs = _dense(1, "dense", method, use_bias=stack.output_bias)(x)
    if conditioning == "projection":
        embedded = _embed(labels, num_classes, x.shape[-1], method)
        projection = layers.Dot(1, name="projection")([embedded, x])
        outputs = layers.Add(name="add_projection")([outputs, projection])
    outputs = _float32(outputs, "logits")
    if conditioning == "auxiliary_classifier":
        classes = _dense(num_classes, "classifier", method)(x)
        outputs = [outputs, _float32(classes, "class_logits")]
    return keras.Model(inputs, outputs, name="discriminator")


def _embed(labels, num_classes, size, method):
    embedding = layers.Embedding(
        num_classes,
        size,
        embeddings_initializer=blocks.glorot(),
        name="embedding",
    )
    return method.wrap(embedding)(labels)


def _concatenate(x, embedded):
    tiled = layers.Reshape((1, 1, -1), name="embedding_as_picture")(embedded)
    tiled = layers.UpSampling2D(x.shape[1:3], name="tile_embedding")(tiled)
    return layers.Concatenate(name="concatenate_embedding")([x, tiled])


def _dense(units, name, method, use_bias=True):
    return method.wrap(
        layers.Dense(
            units,
            use_bias=use_bias,
            kernel_initializer=blocks.glorot(),
            name=name,
        )
    )


def _float32(x, name):
    return layers.Activation("linear", dtype="float32", name=name)(x)
