"""`--mode=train`: trains a GAN in a workdir, from its last checkpoint on."""

import logging

import numpy as np
import tensorflow as tf

from sngan_tf import callbacks
from sngan_tf import checkpoint
from sngan_tf import data
from sngan_tf import distribution
from sngan_tf import evaluate
from sngan_tf import experiment
from sngan_tf import images as images_lib
from sngan_tf import sample
from sngan_tf import scores
from sngan_tf import workdir as workdir_lib
from sngan_tf.errors import UserError
from sngan_tf.errors import as_user_error
from sngan_tf.layers import spectral_norms

_LOGGER = logging.getLogger(__name__)
_EVOLUTION_ROWS = 8


def train(config, workdir):
    """Trains until `config.updates`.

    Args:
        config: A config with every field of `configs/default.py`.
        workdir: `workdir.Workdir`.

    Returns:
        The trained `GAN`.

    Raises:
        UserError: On a config, data set or workdir that can't be used, and on
            a loss that is not finite.
    """
    # Check everything that costs nothing.
    experiment.check(config)
    workdir.check(config)
    workdir.check_writable()
    strategy = distribution.strategy(config.distribution)
    with as_user_error():
        for field, size in (
            ("data.batch_size", config.data.batch_size),
            ("generator_batch_size", config.generator_batch_size),
        ):
            distribution.check_batch_size(
                field, size, strategy.num_replicas_in_sync
            )
    experiment.set_up(config)

    # Load the pictures.
    pictures = experiment.load_pictures(config)
    images_per_update = config.data.batch_size * config.discriminator_steps
    if images_per_update > len(pictures):
        raise UserError(
            "`data.batch_size` x `discriminator_steps` must not be larger than "
            f"the data. Received: data.batch_size={config.data.batch_size}, "
            f"discriminator_steps={config.discriminator_steps}, "
            f"{len(pictures)} pictures in {pictures.reference}"
        )
    _LOGGER.info("Loaded %d pictures: %s", len(pictures), pictures.reference)

    experiment.resolve(config, pictures)

    # Get ready to score, as this may fail for want of a network.
    scorer = None
    if config.evaluate_every:
        scorer = evaluate.scorer(config, pictures, "quick")

    # Build the GAN and go back to its last checkpoint.
    workdir.prepare(config)
    with strategy.scope():
        gan = experiment.build_gan(config)
        checkpoints = checkpoint.Checkpoints(
            gan, workdir.checkpoints, keep=config.keep_checkpoints
        )
        start = checkpoints.restore()
    workdir.forget_after(start)
    if start >= config.updates:
        _LOGGER.info("Trained for %d updates already", start)
        return gan
    _LOGGER.info("Training from update %d to %d", start, config.updates)

    # Train.
    progress = callbacks.ProgressBar(config.updates, images_per_update)
    records = _Records(config, workdir, gan, scorer)
    try:
        gan.fit(
            data.training_batches(
                pictures,
                images_per_update,
                seed=config.seed,
                start=start,
                with_labels=experiment.is_conditional(config),
            ),
            epochs=1,
            steps_per_epoch=config.updates - start,
            shuffle=False,
            verbose=0,
            callbacks=[
                callbacks.StopOnNonFinite(),
                progress,
                callbacks.TrainingLog(
                    config.log_every, images_per_update, records.log
                ),
                callbacks.Every(
                    config.sample_every, records.grid, at_start=True
                ),
                callbacks.Every(config.checkpoint_every, checkpoints.save),
                callbacks.Every(config.evaluate_every, records.evaluate),
            ],
        )
    finally:
        progress.close()
    if not config.checkpoint_every:
        checkpoints.save(config.updates)
    records.evolution()
    return gan


class _Records:
    """Writes what is kept of a run: log, TensorBoard, grids and scores."""

    def __init__(self, config, workdir, gan, scorer):
        self._config = config
        self._workdir = workdir
        self._gan = gan
        self._sampler = sample.Sampler(gan.sampling_generator, gan.num_classes)
        self._writer = tf.summary.create_file_writer(str(workdir.tensorboard))
        self._scorer = scorer
        self._best = checkpoint.Checkpoints(gan, workdir.best, keep=1)

    def log(self, row):
        norms = spectral_norms(self._gan.discriminator)
        workdir_lib.append_row(
            self._workdir.train_log, {**row, "spectral_norms": norms}
        )
        with self._writer.as_default(step=row["step"]):
            for name, value in row.items():
                tf.summary.scalar(name, value)
            for name, value in norms.items():
                tf.summary.scalar(f"spectral_norm/{name}", value)

    def grid(self, step):
        """The same latents at every step, so that one sees them evolve."""
        images = self._sampler.grid(self._config.sampling)
        path = self._workdir.samples / f"step_{step:08d}.png"
        grid = sample.save_grid(path, images)
        with self._writer.as_default(step=step):
            tf.summary.image("samples", grid[np.newaxis])

    def evaluate(self, step):
        if self._scorer is None:
            return
        rows = self._scorer.generated(self._sampler, step)
        with self._writer.as_default(step=step):
            for row in rows:
                tf.summary.scalar(row["metric"], row["value"])
        known = workdir_lib.read_rows(self._workdir.scores)
        self._workdir.add_scores(rows)
        best = checkpoint.latest_step(self._workdir.best)
        metric = self._config.evaluation.best
        if scores.beats(rows, known, best, metric):
            self._best.save(step)

    def evolution(self):
        """Writes the first row of grids over the run as one picture."""
        paths = sorted(self._workdir.samples.glob("step_*.png"))
        if not paths:
            return
        # Most is to be seen early.
        chosen = np.geomspace(1, len(paths), _EVOLUTION_ROWS).round() - 1
        rows = [
            sample.first_row(paths[i], self._config.data.image_size)
            for i in np.unique(chosen.astype(int))
        ]
        images_lib.save_png(
            self._workdir.samples / "evolution.png", np.concatenate(rows)
        )
