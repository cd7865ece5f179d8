"""How a discriminator is told the class: beside the input, or of the output.

    python main.py --mode=study --config=studies/conditional
    python main.py --mode=study --config=studies/conditional:digits

Labels concatenated to a feature map (Table 6c), projected (Miyato & Koyama,
2018), and an auxiliary classifier (Table 8's, on Gulrajani's ResNet, where the
others are the authors'). All under spectral normalization with the hinge loss,
Adam as for the paper's ResNets. The paper compares the first two on ImageNet.

Reduced: an eighth of the width, 1,000 generator updates.
"""

import functools

from sngan_tf.runs import arguments
from sngan_tf.studies import Study
from sngan_tf.studies import figures
from sngan_tf.studies import grid
from sngan_tf.studies import sizes
from sngan_tf.studies import tables

NETWORKS = {
    "concat": "resnet_concat",
    "projection": "resnet_projection",
    "auxiliary_classifier": "acgan_resnet",
}


def get_config(size=""):
    config = sizes.config(
        size, width=0.125, updates=1_000, digits_updates=1_000, evaluations=4
    )
    arguments.set_resnet_training(config)
    config.loss = "hinge"
    # These networks are of 32 pixels or more.
    config.data.image_size = 32
    if size == "digits":
        config.network.width = 0.125
    config.study = Study(
        name=sizes.named("conditional", size),
        cells=grid(
            seeds=3,
            network={key: {"network.name": n} for key, n in NETWORKS.items()},
        ),
        figures={
            "curves": functools.partial(
                figures.curves,
                title="How the discriminator is told the class",
                metric="intra_class_frechet_distance",
                line="network",
                panel=None,
            ),
        },
        tables={
            "scores": functools.partial(
                tables.scores,
                factors=("network",),
                metrics=(
                    "score",
                    "frechet_distance",
                    "intra_class_frechet_distance",
                ),
            ),
            "made of": tables.made_of,
        },
    )
    return config
