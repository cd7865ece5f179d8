"""How many discriminator updates a generator update needs: Figure 11.

    python main.py --mode=study --config=studies/discriminator_steps

n_dis of 1, 2, 5, 10 and 20, the rest as setting D, spectral and weight
normalization. The paper has 10,000 generator updates.

Reduced: an eighth of Table 3's width, 1,000 generator updates.
"""

import functools

from sngan_tf.runs import arguments
from sngan_tf.studies import Study
from sngan_tf.studies import figures
from sngan_tf.studies import grid
from sngan_tf.studies import sizes
from sngan_tf.studies import tables

METHODS = ("spectral_norm", "weight_norm")
STEPS = (1, 2, 5, 10, 20)


def get_config(size=""):
    config = sizes.config(size, width=0.125, updates=1_000, evaluations=2)
    if size == "full":  # As the paper has it here.
        config.updates = 10_000
        config.evaluate_every = 1_000
    config.update_from_flattened_dict(arguments.setting("D"))
    config.study = Study(
        name=sizes.named("discriminator_steps", size),
        cells=grid(
            seeds=3,
            method={name: {"method": name} for name in METHODS},
            discriminator_steps={n: {"discriminator_steps": n} for n in STEPS},
        ),
        figures={
            name: functools.partial(
                figures.against,
                title="Over discriminator updates per generator update "
                "(Fig. 11)",
                x="discriminator_steps",
                metric=metric,
            )
            for name, metric in (
                ("scores", "score"),
                ("distances", "frechet_distance"),
            )
        },
        tables={
            "scores": functools.partial(
                tables.crossed, metric="score", column="discriminator_steps"
            ),
            "distances": functools.partial(
                tables.crossed,
                metric="frechet_distance",
                column="discriminator_steps",
            ),
            "made of": tables.made_of,
        },
    )
    return config
