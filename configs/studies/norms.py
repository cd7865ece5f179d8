"""Which norm to divide by, and to what bound: what came after the paper.

    python main.py --mode=study --config=studies/norms

The norm of the matrix (the paper's), of the convolution as a map, the mean of
two (BSN; Lin et al., 2021), and that of the matrix above the bound alone; each
at bounds from 0.7 to 1.6, some of those that Lin et al. tried. Hinge loss,
setting C. And what each bounds: the Lipschitz constant of the discriminator,
from both sides.

Reduced: an eighth of Table 3's width, 3,000 generator updates.
"""

import functools

from sngan_tf.runs import arguments
from sngan_tf.studies import Study
from sngan_tf.studies import figures
from sngan_tf.studies import grid
from sngan_tf.studies import measures
from sngan_tf.studies import sizes
from sngan_tf.studies import tables

NORMS = {
    "matrix": "spectral_norm",
    "conv": "conv_spectral_norm",
    "bidirectional": "bidirectional_spectral_norm",
    "at_most": "soft_spectral_norm",
}
BOUNDS = (0.7, 1.0, 1.3, 1.6)


def get_config(size=""):
    config = sizes.config(size, width=0.125, updates=3_000, evaluations=3)
    config.update_from_flattened_dict(arguments.setting("C"))
    config.loss = "hinge"
    config.study = Study(
        name=sizes.named("norms", size),
        cells=grid(
            seeds=2,
            norm={key: {"method": name} for key, name in NORMS.items()},
            bound={bound: {"coefficient": bound} for bound in BOUNDS},
        ),
        measures=(measures.bounds,),
        figures={
            "distances": functools.partial(
                figures.against,
                title="Frechet distance over the bound of each kernel",
                x="bound",
                line="norm",
            ),
            "lipschitz": functools.partial(
                figures.against,
                title="Lipschitz constant, proved upper bound",
                x="bound",
                line="norm",
                metric="lipschitz/upper",
                log=True,
            ),
        },
        tables={
            "scores": functools.partial(
                tables.crossed, metric="score", row="norm", column="bound"
            ),
            "distances": functools.partial(
                tables.crossed,
                metric="frechet_distance",
                row="norm",
                column="bound",
            ),
            "upper": functools.partial(
                tables.crossed,
                metric="lipschitz/upper",
                row="norm",
                column="bound",
            ),
            "lower": functools.partial(
                tables.crossed,
                metric="lipschitz/lower",
                row="norm",
                column="bound",
            ),
            "made of": tables.made_of,
        },
    )
    return config
