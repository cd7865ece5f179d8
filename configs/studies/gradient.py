"""Does the gradient through sigma matter? An answer with an interval.

    python main.py --mode=study --config=studies/gradient

Spectral normalization by Eq. 9-12; the same with sigma held constant in the
gradient, which differs in that alone; `keras.layers.SpectralNormalization`
exactly as it ships, which has no such gradient either and writes W / sigma over
W; and none. All else is equal: data order, latents and first weights of a seed
are the same for all four. Then why: lambda of Eq. 12 and the share of the
gradient that lies along u v^T, of each kernel over training; and sigma of the
kernels, as with the quotient the step that Adam takes is as much smaller as
they are larger.

Reduced: a quarter of Table 3's width, 2,000 generator updates. The paper has no
such comparison.
"""

import functools

from sngan_tf.runs import arguments
from sngan_tf.studies import Study
from sngan_tf.studies import figures
from sngan_tf.studies import grid
from sngan_tf.studies import measures
from sngan_tf.studies import sizes
from sngan_tf.studies import tables

# Single evaluations vary much.
LAST = 5
METHODS = (
    "spectral_norm",
    "detached_spectral_norm",
    "keras_spectral_norm",
    "none",
)
SETTINGS = ("C", "F")


def get_config(size=""):
    config = sizes.config(size, width=0.25, updates=2_000, evaluations=10)
    config.spectra.log_gradients = True
    config.log_every = 25
    config.study = Study(
        name=sizes.named("gradient", size),
        cells=grid(
            seeds=5,
            method={name: {"method": name} for name in METHODS},
            setting={name: arguments.setting(name) for name in SETTINGS},
        ),
        measures=(measures.gradients, measures.spectral_norms),
        figures={
            "curves": functools.partial(
                figures.curves,
                title="Frechet distance over training, seeds faint",
            ),
            "differences": functools.partial(
                figures.paired,
                title="Mean of the last five evaluations, paired by seed, "
                "95 % intervals",
                base="spectral_norm",
                last=LAST,
            ),
            "lambda": functools.partial(
                figures.curves,
                title="How the loss pulls at the size of the kernels (Eq. 12)",
                metric="lambda",
            ),
            "sigma": functools.partial(
                figures.curves,
                title="Sigma of the kernels that Adam moves",
                metric="estimate",
                log=True,
            ),
            "share": functools.partial(
                figures.curves,
                title="How much of the gradient Eq. 12 can take away",
                metric="gradient_share",
                log=True,
            ),
        },
        tables={
            "scores": functools.partial(
                tables.scores, factors=("method", "setting"), last=LAST
            ),
            "differences": functools.partial(
                tables.differences,
                metric="frechet_distance",
                base="spectral_norm",
                last=LAST,
            ),
            "overwriting": functools.partial(
                tables.differences,
                metric="frechet_distance",
                base="detached_spectral_norm",
                last=LAST,
            ),
            "made of": tables.made_of,
        },
    )
    return config
