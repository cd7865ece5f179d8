"""What the networks are made of: residual blocks (Fig. 8) and their numbers.

Functions of Keras tensors, for Functional models.
"""

from keras import initializers
from keras import layers

from sngan_tf.layers import ConditionalBatchNormalization

# Not stated in the paper; these are Chainer's defaults, which the authors'
# code runs with. Keras counts the decay as `momentum`.
BATCH_NORM = {"momentum": 0.9, "epsilon": 2e-5}


def maps(number, width):
    """Returns a number of feature maps times the width, at least 1."""
    return max(1, round(number * width))


def glorot(gain=1.0):
    """Returns the Glorot-uniform initializer, its weights times `gain`."""
    return initializers.VarianceScaling(gain**2, "fan_avg", "uniform")


def conv(number, kernel_size, gain=1.0, name=None):
    """Returns a convolution that keeps the picture's size."""
    return layers.Conv2D(
        number,
        kernel_size,
        padding="same",
        kernel_initializer=glorot(gain),
        name=name,
    )


def generator_block(x, number, name, labels=None, num_classes=None):
    """Doubles height and width (Fig. 8): batch norm, ReLU, copy up, conv, ...

    Args:
        x: `(batch, height, width, channels)`.
        number: Feature maps of both convolutions.
        name: Prefix of the layers' names.
        labels: `(batch,)` for conditional batch norm, or None.
        num_classes: Number of classes, with labels.
    """

    def batch_norm(x, i):
        if labels is None:
            layer = layers.BatchNormalization(
                **BATCH_NORM, name=f"{name}_bn_{i}"
            )
            return layer(x)
        layer = ConditionalBatchNormalization(
            num_classes, **BATCH_NORM, name=f"{name}_bn_{i}"
        )
        return layer(x, labels)

    def upsample(x, which):
        return layers.UpSampling2D(2, name=f"{name}_up_{which}")(x)

    # A 1x1 convolution commutes with copies, and costs a quarter before them.
    shortcut = conv(number, 1, name=f"{name}_shortcut")(x)
    shortcut = upsample(shortcut, "shortcut")
    x = layers.ReLU(name=f"{name}_relu_1")(batch_norm(x, 1))
    x = conv(number, 3, 2**0.5, name=f"{name}_conv_1")(upsample(x, "residual"))
    x = layers.ReLU(name=f"{name}_relu_2")(batch_norm(x, 2))
    x = conv(number, 3, 2**0.5, name=f"{name}_conv_2")(x)
    return layers.Add(name=f"{name}_add")([shortcut, x])


def discriminator_block(x, number, down, name, method):
    """ReLU, conv, ReLU, conv, and a mean pool if `down` (Fig. 8).

    The first convolution keeps the channels, as in the authors' code. A
    method that normalises feature maps does so before each ReLU.

    Args:
        x: `(batch, height, width, channels)`.
        number: Feature maps that come out.
        down: Whether height and width are halved.
        name: Prefix of the layers' names.
        method: A `methods.Method`.
    """
    channels = x.shape[-1]
    shortcut = x
    x = layers.ReLU(name=f"{name}_relu_1")(
        method.normalize(x, f"{name}_norm_1")
    )
    x = method.wrap(conv(channels, 3, 2**0.5, name=f"{name}_conv_1"))(x)
    x = layers.ReLU(name=f"{name}_relu_2")(
        method.normalize(x, f"{name}_norm_2")
    )
    x = method.wrap(conv(number, 3, 2**0.5, name=f"{name}_conv_2"))(x)
    if down:
        # A 1x1 convolution commutes with means, and costs a quarter of them.
        shortcut = _mean_pool(shortcut, f"{name}_pool_shortcut")
        x = _mean_pool(x, f"{name}_pool_residual")
    if down or channels != number:
        shortcut = method.wrap(conv(number, 1, name=f"{name}_shortcut"))(
            shortcut
        )
    return layers.Add(name=f"{name}_add")([shortcut, x])


def first_discriminator_block(images, number, name, method):
    """The block on raw images: no ReLU first, and the shortcut pools first.

    A method does not normalise its feature maps.
    """
    shortcut = _mean_pool(images, f"{name}_pool_shortcut")
    shortcut = method.wrap(conv(number, 1, name=f"{name}_shortcut"))(shortcut)
    x = method.wrap(conv(number, 3, 2**0.5, name=f"{name}_conv_1"))(images)
    x = layers.ReLU(name=f"{name}_relu_2")(x)
    x = method.wrap(conv(number, 3, 2**0.5, name=f"{name}_conv_2"))(x)
    x = _mean_pool(x, f"{name}_pool_residual")
    return layers.Add(name=f"{name}_add")([shortcut, x])


def _mean_pool(x, name):
    return layers.AveragePooling2D(2, name=name)(x)
