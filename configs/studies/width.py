"""How wide the last layer may be: Figure 4.

    python main.py --mode=study --config=studies/width

The maps of the discriminator's last convolution times 0.5 to 8, under spectral
normalization, which leaves all of its spectrum to be used, and orthonormal
regularization, which asks that all of it be. Setting C. (The paper has STL-10
there.)

Reduced: an eighth of Table 3's width, 3,000 generator updates.
"""

import functools

from sngan_tf.runs import arguments
from sngan_tf.studies import Study
from sngan_tf.studies import figures
from sngan_tf.studies import grid
from sngan_tf.studies import sizes
from sngan_tf.studies import tables

METHODS = ("spectral_norm", "orthonormal")
FACTORS = (0.5, 1, 2, 4, 6, 8)


def get_config(size=""):
    config = sizes.config(size, width=0.125, updates=3_000, evaluations=3)
    if size == "full":
        config.data.name = "stl10"
        config.data.split = "unlabelled"
        config.data.image_size = 48
    config.update_from_flattened_dict(arguments.setting("C"))
    config.study = Study(
        name=sizes.named("width", size),
        cells=grid(
            seeds=3,
            method={name: {"method": name} for name in METHODS},
            width={n: {"network.last_width": float(n)} for n in FACTORS},
        ),
        figures={
            name: functools.partial(
                figures.against,
                title="Over the width of the last layer (Fig. 4)",
                x="width",
                metric=metric,
            )
            for name, metric in (
                ("scores", "score"),
                ("distances", "frechet_distance"),
            )
        },
        tables={
            "scores": functools.partial(
                tables.crossed, metric="score", column="width"
            ),
            "distances": functools.partial(
                tables.crossed, metric="frechet_distance", column="width"
            ),
            "made of": tables.made_of,
        },
    )
    return config
