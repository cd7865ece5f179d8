"""Normalization with a learned scale, under WGAN-GP: Table 7 and 8.

    python main.py --mode=study --config=studies/reparametrisation
    python main.py --mode=study --config=studies/reparametrisation:digits

WGAN-GP alone, and with Frobenius, weight and spectral normalization times a
scale for each layer (Appendix E), on Table 3's networks; then alone and with
spectral normalization on Gulrajani's ResNet, and on the same with an auxiliary
classifier (Table 8). Setting A, that of WGAN-GP's authors.

Reduced: an eighth of the width, 1,000 generator updates.
"""

import functools

from sngan_tf.runs import arguments
from sngan_tf.studies import Study
from sngan_tf.studies import by_seed
from sngan_tf.studies import figures
from sngan_tf.studies import grid
from sngan_tf.studies import sizes
from sngan_tf.studies import tables

METHODS = {
    "none": "wgan_gp",
    "frobenius_norm": "wgan_gp_frobenius_norm",
    "weight_norm": "wgan_gp_weight_norm",
    "spectral_norm": "wgan_gp_spectral_norm",
}
# The ResNets' widest row has half as many maps again.
RESNET_METHODS = {
    "none": {"method": "wgan_gp"},
    "spectral_norm": {"method": "wgan_gp_spectral_norm"},
    "spectral_norm_wider": {
        "method": "wgan_gp_spectral_norm",
        "network.discriminator_width": 1.5,
    },
}


def get_config(size=""):
    config = sizes.config(
        size, width=0.125, updates=1_000, digits_updates=1_000, evaluations=4
    )
    config.update_from_flattened_dict(arguments.setting("A"))
    config.loss = "wasserstein"
    # Gulrajani's networks are of 32 pixels alone.
    resnet = {"data.image_size": 32}
    if size == "digits":
        resnet["network.width"] = 0.125
    config.study = Study(
        name=sizes.named("reparametrisation", size),
        cells=by_seed(
            grid(
                seeds=2,
                network={"cnn": {}},
                method={key: {"method": m} for key, m in METHODS.items()},
            )
            + grid(
                seeds=2,
                network={
                    name: {"network.name": name, **resnet}
                    for name in ("gulrajani_resnet", "acgan_resnet")
                },
                method=RESNET_METHODS,
            )
        ),
        figures={
            "curves": functools.partial(
                figures.curves,
                title="WGAN-GP, kernels normalised and scaled (App. E)",
                panel="network",
            ),
        },
        tables={
            "scores": functools.partial(
                tables.scores, factors=("network", "method")
            ),
            "made of": tables.made_of,
        },
    )
    return config
