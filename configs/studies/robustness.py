"""Which method stands which optimizer: Figures 1 and 2, and Table 2's rows.

    python main.py --mode=study --config=studies/robustness
    python main.py --mode=study --config=studies/robustness:digits

Settings A to F of Table 1; the same number of generator updates for all, so
that A, D, E and F have five times the discriminator updates of B and C. Beside
the paper's methods stand none, spectral normalization with the hinge loss, and
R1 + R2 with the relativistic loss.

Reduced: an eighth of Table 3's width, 1,000 generator updates.
"""

import functools

from sngan_tf.runs import arguments
from sngan_tf.studies import Study
from sngan_tf.studies import figures
from sngan_tf.studies import grid
from sngan_tf.studies import sizes
from sngan_tf.studies import tables

METHODS = {
    "spectral_norm": {"method": "spectral_norm"},
    "spectral_norm_hinge": {"method": "spectral_norm", "loss": "hinge"},
    "orthonormal": {"method": "orthonormal"},
    "weight_norm": {"method": "weight_norm"},
    "layer_norm": {"method": "layer_norm"},
    "batch_norm": {"method": "batch_norm"},
    "wgan_gp": {"method": "wgan_gp", "loss": "wasserstein"},
    "gan_gp": {"method": "gan_gp"},
    "weight_clipping": {"method": "weight_clipping"},
    "r1_r2_relativistic": {"method": "r1_r2", "loss": "relativistic"},
    "none": {"method": "none"},
}
# Of the way from no variety to the best run's score.
COLLAPSE = 0.25


def get_config(size=""):
    config = sizes.config(
        size, width=0.125, updates=1_000, digits_updates=1_000, evaluations=2
    )
    config.study = Study(
        name=sizes.named("robustness", size),
        cells=grid(
            seeds=2,
            method=METHODS,
            setting={n: arguments.setting(n) for n in arguments.SETTINGS},
        ),
        figures={
            "scores": functools.partial(
                figures.by_level,
                title="Each method at each setting: seeds, and their mean",
                metric="score",
            ),
            "distances": functools.partial(
                figures.by_level,
                title="Each method at each setting: seeds, and their mean",
                log=True,
            ),
        },
        tables={
            "scores": functools.partial(
                tables.crossed, metric="score", collapse=COLLAPSE
            ),
            "distances": functools.partial(
                tables.crossed, metric="frechet_distance"
            ),
            "made of": tables.made_of,
        },
    )
    return config
