"""Does it still improve after the paper's 100,000 updates?

    python main.py --mode=study --config=studies/length

Spectral normalization with the hinge loss at setting C, scored every 5,000
updates: of the generator averaged over about 1,000 updates, as single updates
move the scores.

Reduced: a quarter of Table 3's width; 100,000 generator updates as the paper.
"""

import functools

from sngan_tf.runs import arguments
from sngan_tf.studies import Study
from sngan_tf.studies import figures
from sngan_tf.studies import grid
from sngan_tf.studies import sizes
from sngan_tf.studies import tables


def get_config(size=""):
    config = sizes.config(size, width=0.25, updates=100_000, evaluations=20)
    config.update_from_flattened_dict(arguments.setting("C"))
    config.loss = "hinge"
    config.average_decay = 0.999
    config.checkpoint_every = 1_000
    config.sample_every = config.evaluate_every
    config.study = Study(
        name=sizes.named("length", size),
        cells=grid(
            seeds=1, method={"spectral_norm": {"method": "spectral_norm"}}
        ),
        figures={
            "curves": functools.partial(
                figures.curves,
                title="Frechet distance over 100,000 updates",
                panel=None,
            ),
            "scores": functools.partial(
                figures.curves,
                title="Score over 100,000 updates",
                metric="score",
                panel=None,
            ),
        },
        tables={"made of": tables.made_of},
    )
    return config
