"""Networks with methods: what each pair can newly break.

What a method brings is seen in the networks of `small`, and what a network
brings with one method. The rest is where both meet: penalties, norms and
normalised embeddings where labels, residual blocks and poolings are.
"""

import small

from sngan_tf import networks
from sngan_tf.gan import methods

# Callbacks are not of a step.
METHODS = [
    ("small", name) for name, row in methods.METHODS.items() if not row.callback
]
MEETING = [
    ("resnet", "layer_norm"),
    ("gulrajani_resnet", "gan_gp"),
    ("resnet_concat", "wgan_gp_spectral_norm"),
    ("resnet_projection", "batch_norm"),
    ("resnet_projection", "orthonormal"),
    ("resnet_projection", "r1_r2"),
    ("resnet_projection", "wgan_gp_weight_norm"),
    ("acgan_resnet", "batch_norm"),
    ("acgan_resnet", "wgan_gp_frobenius_norm"),
]
# Every network, with the spectral norm unless it meets another method.
NETWORKS = [
    *(
        (network, "spectral_norm")
        for network in networks.NETWORKS
        if network not in dict(MEETING)
    ),
    *MEETING,
]


def is_conditional(network):
    return network != "small" and networks.NETWORKS[network].conditional


def build(network, *args, **kwargs):
    """Returns what `networks.build` does, also for the network `small`."""
    make = small.build if network == "small" else networks.build
    return make(network, *args, **kwargs)


def arguments(row):
    """Returns what a `GAN` is given for a row of the methods."""
    # R3GAN's loss with its penalties, as that needs real images too.
    loss = "relativistic" if row.zero_centered_penalty else row.losses[0]
    return {"loss": loss, **row.arguments}


# Networks that together have every kind of layer.
KINDS = ["cnn", "resnet_projection", "acgan_resnet"]
