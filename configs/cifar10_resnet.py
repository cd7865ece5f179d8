r"""The ResNets on CIFAR-10: Table 4, and those of Tables 7 and 8.

    python main.py --config=configs/cifar10_resnet.py \
        --workdir=runs/cifar10_resnet

Published scores, IS higher and FID lower is better (Table 2, hinge loss, mean
and deviation over seeds):

| | IS | FID |
|---|---|---|
| spectral_norm | 8.22 +- .05 | 21.7 +- .21 |
| orthonormal | 7.92 +- .04 | 23.8 +- .58 |
| spectral_norm, network=resnet_projection | 8.62 | 17.5 |

The last is of the projection discriminator's paper, by a listing. Tables 7 and
8 have the WGAN-GP networks of Gulrajani et al. (2017):

| | IS | FID |
|---|---|---|
| network=gulrajani_resnet,method=wgan_gp | 7.80 +- .11 | 24.5 |
| network=gulrajani_resnet,method=wgan_gp_spectral_norm | 7.85 +- .06 | 23.6 |
| the same with --config.network.discriminator_width=1.5 | 7.96 +- .06 | 22.5 |
| network=acgan_resnet,method=wgan_gp | 8.29 +- .12 | 19.5 |
| network=acgan_resnet,method=wgan_gp_spectral_norm | 8.59 +- .12 | 18.6 |
| the same with --config.network.discriminator_width=1.5 | 8.60 +- .08 | 17.5 |

Ours: not measured yet. The paper says 100,000 updates and nothing of a decay;
the authors' code decays over 50,000 from the start, and the WGAN-GP code whose
settings the paper takes over 100,000. We take 100,000 with that decay. Batches
of 64 and 128 are those of both codes.
"""

from sngan_tf.runs import arguments
from sngan_tf.runs import fields


def get_config(text=""):
    config = fields.defaults()
    config.data.name = "cifar10"
    config.evaluation.protocol = "paper"
    config.evaluation.features = "inception"
    config.evaluation.classifier_updates = 15 * 625  # Epochs x their updates.
    config.network.name = "resnet"
    arguments.set_resnet_training(config)
    return arguments.apply(config, text)
