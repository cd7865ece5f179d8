"""What is written in the course of a training."""

import logging

import numpy as np
import tensorflow as tf

from sngan_tf import files
from sngan_tf import images as images_lib
from sngan_tf.errors import Interrupted
from sngan_tf.gan import sampler as sampler_lib
from sngan_tf.layers import effective_rank
from sngan_tf.layers import singular_values
from sngan_tf.layers import spectral_estimates
from sngan_tf.metrics import scorer as scorer_lib
from sngan_tf.runs import callbacks
from sngan_tf.runs import checkpoint

_LOGGER = logging.getLogger(__name__)
_EVOLUTION_ROWS = 8
# What TensorBoard calls what the log has of each kernel.
_SCALARS = {
    "spectral_norms": "sigma",
    "lambdas": "lambda",
    "gradient_shares": "gradient_share",
}


class Records:
    """Writes what is kept of a run: log, TensorBoard, grids and scores.

    Args:
        config: A checked config, resolved.
        workdir: `workdir.Workdir`, prepared.
        gan: The `GAN` that is trained.
        make_scorer: Function to the `metrics.scorer.Scorer`, called for each
            scoring; None to score nothing.
        interrupts: `interrupts.Interrupts`, entered; a signal ends a scoring.
        real: Batch of real images, with labels if conditional, on which the
            gradients of `spectra.log_gradients` are taken; else None.

    Attributes:
        scores: `callbacks.Scores`, None without one.
    """

    def __init__(
        self, config, workdir, gan, make_scorer, interrupts, real=None
    ):
        self._config = config
        self._workdir = workdir
        self._gan = gan
        self._writer = tf.summary.create_file_writer(str(workdir.tensorboard))
        # Of the networks' many small operations one graph.
        self._estimates = tf.function(
            lambda: spectral_estimates(gan.discriminator), autograph=False
        )
        self._gradients = tf.function(
            lambda: gan.kernel_gradients(real), autograph=False
        )
        self._best = checkpoint.Checkpoints(gan, workdir.best, keep=1)
        self._bar = callbacks.ProgressBar(
            config.updates, self._images_per_update
        )
        self.scores = None
        if make_scorer is not None:
            self.scores = callbacks.Scores(
                _Interruptible(make_scorer, interrupts),
                config.evaluate_every,
                workdir.scores,
                self._keep,
            )
            self.scores.set_model(gan)

    @property
    def _images_per_update(self):
        return self._config.data.batch_size * self._config.discriminator_steps

    def close(self):
        """Ends the progress bar's line."""
        self._bar.close()

    def callbacks(self, save):
        """Returns those that write in the course of training.

        What comes before `save` is done again if training goes on from an
        earlier checkpoint, and scores are taken up by `evaluate_missing`.
        """
        config = self._config
        grid = callbacks.SampleGrid(
            self._workdir.samples,
            config.sample_every,
            config.sampling.count,
            config.sampling.seed,
            config.sampling.label,
            self._show,
        )
        return [
            callbacks.TrainingLog(
                config.log_every, self._images_per_update, self.log
            ),
            self._bar,
            grid,
            callbacks.Every(config.evaluate_every, self.measure),
            callbacks.Every(config.checkpoint_every, save),
            *([self.scores] if self.scores else []),
        ]

    def log(self, row):
        """Writes and shows a row of `TrainingLog`, with what spectra have.

        That is sigma of each `u`, and Eq. 12's lambda and share where
        `spectra.log_gradients` asks for it.
        """
        self._bar.show({m.name: row[m.name] for m in self._gan.metrics})
        spectra = {"spectral_norms": self._estimates()}
        if self._config.spectra.log_gradients:
            found = self._gradients()
            spectra["lambdas"] = {k: v.strength for k, v in found.items()}
            spectra["gradient_shares"] = {k: v.share for k, v in found.items()}
        spectra = tf.nest.map_structure(float, spectra)
        files.append_row(self._workdir.train_log, {**row, **spectra})
        with self._writer.as_default(step=row["step"]):
            for name, value in row.items():
                tf.summary.scalar(name, value)
            for what, values in spectra.items():
                for name, value in values.items():
                    tf.summary.scalar(f"{_SCALARS[what]}/{name}", value)

    def measure(self, step):
        """Writes the exact spectral norms and ranks of the kernels in effect.

        Before scores are made: neither are of weights that are not finite.
        What falls below `spectra.warn_below` is warned of, once for each
        kernel of a run.

        Raises:
            UserError: On such a weight.
        """
        checkpoint.check_finite(self._gan, step)
        values = singular_values(self._gan.discriminator)
        norms = {name: float(found[0]) for name, found in values.items()}
        ranks = {name: effective_rank(found) for name, found in values.items()}
        share = self._config.spectra.warn_below
        collapsed = {
            name: f"{ranks[name]:.3g} of {len(found)} singular values"
            for name, found in values.items()
            if ranks[name] < share * len(found)
        }
        self._warn(step, collapsed)
        row = {
            "step": step,
            "spectral_norms": norms,
            "effective_ranks": ranks,
            "collapsed": [*collapsed],
        }
        if self._config.spectra.log_values:
            row["singular_values"] = {k: v.tolist() for k, v in values.items()}
        files.append_row(self._workdir.spectral_norms, row)
        with self._writer.as_default(step=step):
            for name in values:
                tf.summary.scalar(f"spectral_norm/{name}", norms[name])
                tf.summary.scalar(f"effective_rank/{name}", ranks[name])

    def _warn(self, step, collapsed):
        """Says of which kernels it was not said before what has become."""
        rows = files.read_rows(self._workdir.spectral_norms)
        known = {name for row in rows for name in row.get("collapsed", ())}
        for name in [name for name in collapsed if name not in known]:
            _LOGGER.warning(
                "The spectrum of %s has collapsed at update %d: its effective "
                "rank is %s, less than the share spectra.warn_below=%g",
                *(name, step, collapsed[name]),
                self._config.spectra.warn_below,
            )

    def _show(self, step, grid):
        with self._writer.as_default(step=step):
            tf.summary.image("samples", grid[np.newaxis])

    def _keep(self, step, rows):
        """Keeps the checkpoint that is best by its scores."""
        with self._writer.as_default(step=step):
            for row in rows:
                tf.summary.scalar(row["metric"], row["value"])
        metric = self._config.evaluation.best
        # Before the row is written: without its scores it is made again.
        if scorer_lib.beats(rows, self._scores_of_best(), metric):
            self._best.save(step)
            files.write_rows(self._workdir.best_scores, rows)

    def _scores_of_best(self):
        """Returns the rows that the best checkpoint was kept for."""
        step = checkpoint.latest_step(self._workdir.best)
        # Runs from before they were kept with it have them among all.
        for path in (self._workdir.best_scores, self._workdir.scores):
            rows = [row for row in files.read_rows(path) if row["step"] == step]
            if rows:
                return rows
        return []

    def evaluate_missing(self, step):
        """Evaluates a restored GAN that was stopped before its scores."""
        config = self._config
        if not step or not config.evaluate_every or not self.scores:
            return
        due = step % config.evaluate_every == 0 or step >= config.updates
        known = files.read_rows(self._workdir.scores)
        if due and not any(row["step"] == step for row in known):
            self.scores.score(step)

    def evolution(self):
        """Writes the first row of grids over the run as one picture."""
        paths = sorted(self._workdir.samples.glob("step_*.png"))
        if not paths:
            return
        # Most is to be seen early.
        chosen = np.geomspace(1, len(paths), _EVOLUTION_ROWS).round() - 1
        rows = [
            sampler_lib.first_row(paths[i], self._config.data.image_size)
            for i in np.unique(chosen.astype(int))
        ]
        # Grids differ where a run went on with another count.
        width = min(row.shape[1] for row in rows)
        images_lib.save_png(
            self._workdir.samples / "evolution.png",
            np.concatenate([row[:, :width] for row in rows]),
        )


class _Interruptible:
    """A scorer without rows where a signal has ended its work.

    `Records.evaluate_missing` makes them when the run goes on.
    """

    def __init__(self, make_scorer, interrupts):
        self._make_scorer = make_scorer
        self._interrupts = interrupts

    def generated(self, sampler, step):
        try:
            with self._interrupts.acted_on():
                return self._make_scorer().generated(sampler, step)
        except Interrupted:
            return []
