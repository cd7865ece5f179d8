"""`--mode=evaluate`: scores of a trained generator.

By Inception they are those of the literature; by a classifier of the data
set's own labels they bear its name, and compare only with each other.
"""

import logging

from sngan_tf import files
from sngan_tf.errors import UserError
from sngan_tf.errors import first_line
from sngan_tf.runs import build
from sngan_tf.runs import checkpoint
from sngan_tf.runs import scoring

_LOGGER = logging.getLogger(__name__)


def evaluate(config, workdir):
    """Scores the last checkpoint and the best, and real pictures.

    What is new is added to `scores.jsonl`.

    Returns:
        The records, those of the last checkpoint first; none if the data has
        no labels and the scores need them.
    """
    gan = build.restored_gan(config, workdir, "last")
    pictures = build.pictures(config)
    scorer = scoring.scorer(config, pictures, config.evaluation.protocol)
    if scorer is None:
        return []
    last = int(gan.step.numpy())
    rows = scorer.generated(gan.sampler, last, show=True)
    best = _restore_best(gan, workdir)
    if best not in (None, last):
        rows += scorer.generated(gan.sampler, best, show=True)
    rows += scorer.real(last)
    files.add_rows(workdir.scores, rows)
    return rows


def _restore_best(gan, workdir):
    """Returns the step of the best checkpoint, restored; None without one."""
    try:
        step = checkpoint.Checkpoints(gan, workdir.best, keep=1).restore()
    except UserError as error:
        _LOGGER.warning("The best is not scored: %s", first_line(error))
        return None
    return step or None
