"""Four methods at the paper's size, as far as an accelerator's time reached.

    python main.py --mode=study --config=studies/full_size

Spectral normalization by Eq. 9-12, the way of `keras.layers`, none, and
WGAN-GP, of all data, latents and first weights alike. The rows that the table
has are not by this command but by `examples/train_full_size.py`, the same
layers, losses and settings in one compiled loop on JAX, and were put there by
`examples/tabulate_full_size.py`.

Full width; one seed, scored by the classifier rather than Inception; of the
paper's 100,000 generator updates the first third.
"""

import functools

from sngan_tf.runs import arguments
from sngan_tf.studies import Study
from sngan_tf.studies import figures
from sngan_tf.studies import grid
from sngan_tf.studies import sizes
from sngan_tf.studies import tables

# As of studies/gradient.
LAST = 5
METHODS = {
    "spectral_norm": {"method": "spectral_norm"},
    "keras_spectral_norm": {"method": "keras_spectral_norm"},
    "none": {"method": "none"},
    "wgan_gp": {"method": "wgan_gp", "loss": "wasserstein"},
}


def get_config(size=""):
    config = sizes.config(size, width=1.0, updates=100_000)
    if not size:
        config.evaluate_every = 3_000
    config.study = Study(
        name=sizes.named("full_size", size),
        cells=grid(
            seeds=1,
            method=METHODS,
            setting={name: arguments.setting(name) for name in ("C", "F")},
        ),
        figures={
            "curves": functools.partial(
                figures.curves,
                title="Frechet distance at the paper's size, one seed",
            ),
            "scores": functools.partial(
                figures.curves,
                title="Score at the paper's size, one seed",
                metric="score",
            ),
        },
        tables={
            "scores": functools.partial(
                tables.scores, factors=("method", "setting"), last=LAST
            ),
            "made of": tables.made_of,
        },
    )
    return config
