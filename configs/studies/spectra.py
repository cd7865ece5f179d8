"""What the methods do to the kernels: Figures 3 and 9.

    python main.py --mode=study --config=studies/spectra

Squared singular values of every layer under weight clipping, weight
normalization and spectral normalization at setting C: where each of them has
reached the same score, as unequal training would show itself too, and where
each is at its best, as the paper has it. And the exact spectral norm of every
kernel in effect over training, which one power iteration an update is to keep
at 1.

Reduced: a quarter of Table 3's width, 10,000 generator updates.
"""

import functools

from sngan_tf.runs import arguments
from sngan_tf.studies import Study
from sngan_tf.studies import figures
from sngan_tf.studies import grid
from sngan_tf.studies import measures
from sngan_tf.studies import sizes
from sngan_tf.studies import tables

METHODS = ("spectral_norm", "weight_norm", "weight_clipping")


def get_config(size=""):
    config = sizes.config(size, width=0.25, updates=10_000, evaluations=20)
    config.update_from_flattened_dict(arguments.setting("C"))
    config.spectra.log_values = True
    config.study = Study(
        name=sizes.named("spectra", size),
        cells=grid(
            seeds=1, method={name: {"method": name} for name in METHODS}
        ),
        measures=(measures.singular_values, measures.spectral_norms),
        figures={
            "values": functools.partial(
                figures.spectra,
                title="Squared singular values at the same Frechet distance "
                "(Fig. 3), the largest as 1",
            ),
            "best_values": functools.partial(
                figures.spectra,
                title="Squared singular values at each one's lowest Frechet "
                "distance (Fig. 3), the largest as 1",
                same_score=False,
            ),
            "norms": functools.partial(
                figures.norms,
                title="Exact spectral norms over training (Fig. 9)",
            ),
            "curves": functools.partial(
                figures.curves, title="Frechet distance", panel=None
            ),
        },
        tables={
            "scores": functools.partial(tables.scores, factors=("method",)),
            "made of": tables.made_of,
        },
    )
    return config
