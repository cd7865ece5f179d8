"""`--mode=train`: trains a GAN in a workdir, from its last checkpoint on."""

import contextlib
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
from sngan_tf import interrupts as interrupts_lib
from sngan_tf import sample
from sngan_tf import scores
from sngan_tf import workdir as workdir_lib
from sngan_tf.errors import Interrupted
from sngan_tf.errors import UserError
from sngan_tf.errors import as_user_error
from sngan_tf.layers import spectral_norms

_LOGGER = logging.getLogger(__name__)
_EVOLUTION_ROWS = 8


def train(config, workdir):
    """Trains until `config.updates`.

    On several hosts every one of them calls this, and the chief alone writes.

    Args:
        config: A config with every field of `configs/default.py`.
        workdir: `workdir.Workdir`.

    Returns:
        The trained `GAN`.

    Raises:
        Interrupted: After SIGTERM or Ctrl-C; what was reached is saved.
        UserError: On a config, data set or workdir that can't be used, on a
            loss that is not finite, a disk that can't be written, and a host
            that is lost.
    """
    # Check everything that costs nothing.
    experiment.check(config)
    workdir.check(config)
    workdir.check_writable()
    is_chief = distribution.is_chief(config.distribution)
    if is_chief:
        workdir.check_free()
    with as_user_error():
        with interrupts_lib.fatal():
            strategy = distribution.strategy(config.distribution)
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
    data.check_enough(
        pictures, config.data.batch_size, config.discriminator_steps
    )
    experiment.resolve(config, pictures)
    _LOGGER.info("Loaded %d pictures: %s", len(pictures), pictures.reference)

    # Get ready to score, as this may fail for want of a network.
    scorer = None
    if config.evaluate_every and is_chief:
        scorer = evaluate.scorer(config, pictures, "quick")

    with workdir.locked() if is_chief else contextlib.nullcontext():
        if is_chief:
            workdir.prepare(config)
        try:
            return _train(config, workdir, strategy, pictures, scorer, is_chief)
        except tf.errors.OpError as error:
            if unreadable := getattr(pictures.images, "error", None):
                raise unreadable from error
            if distribution.has_several_hosts(strategy):
                raise UserError(
                    f"Host {distribution.lost_host(error)} has ended or can't "
                    "be reached; start all hosts again to go on from the last "
                    "checkpoint"
                ) from error
            raise


def _train(config, workdir, strategy, pictures, scorer, is_chief):
    # Build the GAN and go back to its last checkpoint.
    gather = None
    if distribution.has_several_hosts(strategy):
        gather = distribution.gatherer(strategy)
    with strategy.scope():
        gan = experiment.build_gan(config)
        checkpoints = checkpoint.Checkpoints(
            gan,
            workdir.checkpoints,
            config.keep_checkpoints,
            config.keep_checkpoints_hours,
        )
        start = checkpoints.restore()
    if gather and len(starts := set(gather(start))) > 1:
        raise UserError(
            "`workdir` must be the same folder on all hosts, with the same "
            f"checkpoints. Received: those of updates {sorted(starts)}"
        )
    save = checkpoints.save if is_chief else lambda step: None

    # Train.
    with contextlib.ExitStack() as stack:
        interrupts = stack.enter_context(interrupts_lib.Interrupts())
        kept = [callbacks.StopOnNonFinite()]
        if is_chief:
            workdir.forget_after(start)
            records = _Records(config, workdir, gan, scorer, interrupts)
            records.evaluate_missing(start)
            kept += records.callbacks(save)
            stack.callback(records.close)
        if start < config.updates:
            _LOGGER.info("Training from update %d to %d", start, config.updates)
            _fit(
                gan,
                _batches(config, strategy, pictures, start),
                start,
                config.updates,
                [*kept, callbacks.StopOnSignal(interrupts, save, gather)],
            )
            if not config.checkpoint_every:
                save(config.updates)
        else:
            _LOGGER.info("Trained for %d updates already", start)
        if is_chief:
            records.evolution()
    return gan


def _fit(gan, batches, start, updates, kept):
    # The first execution ends at a multiple of the updates of one.
    executed = start // gan.steps_per_execution * gan.steps_per_execution
    gan.fit(
        batches,
        steps_per_epoch=updates - executed,
        shuffle=False,
        verbose=0,
        callbacks=kept,
    )


def _batches(config, strategy, pictures, start):
    def of_replicas(replicas, num_replicas):
        return data.training_batches(
            pictures,
            config.data.batch_size,
            seed=config.seed,
            start=start,
            with_labels=experiment.is_conditional(config),
            discriminator_steps=config.discriminator_steps,
            replicas=replicas,
            num_replicas=num_replicas,
        )

    return distribution.distribute(strategy, of_replicas)


class _Records:
    """Writes what is kept of a run: log, TensorBoard, grids and scores."""

    def __init__(self, config, workdir, gan, scorer, interrupts):
        self._interrupts = interrupts
        self._config = config
        self._workdir = workdir
        self._gan = gan
        self._sampler = sample.Sampler(gan.sampling_generator, gan.num_classes)
        self._writer = tf.summary.create_file_writer(str(workdir.tensorboard))
        self._scorer = scorer
        self._best = checkpoint.Checkpoints(gan, workdir.best, keep=1)
        self._bar = callbacks.ProgressBar(
            config.updates, self._images_per_update
        )

    @property
    def _images_per_update(self):
        return self._config.data.batch_size * self._config.discriminator_steps

    def close(self):
        self._bar.close()

    def callbacks(self, save):
        """Returns those that write in the course of training.

        What comes before `save` is done again if training goes on from an
        earlier checkpoint, and scores are taken up by `evaluate_missing`.
        """
        config = self._config
        return [
            self._bar,
            callbacks.TrainingLog(
                config.log_every, self._images_per_update, self.log
            ),
            callbacks.Every(config.sample_every, self.grid, at_start=True),
            callbacks.Every(config.checkpoint_every, save),
            callbacks.Every(config.evaluate_every, self.evaluate),
        ]

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
        try:
            with self._interrupts.acted_on():
                rows = self._scorer.generated(self._sampler, step)
        except Interrupted:
            return  # `evaluate_missing` makes them when the run goes on.
        with self._writer.as_default(step=step):
            for row in rows:
                tf.summary.scalar(row["metric"], row["value"])
        known = workdir_lib.read_rows(self._workdir.scores)
        best = checkpoint.latest_step(self._workdir.best)
        metric = self._config.evaluation.best
        # The checkpoint first: without its scores it is made again.
        if scores.beats(rows, known, best, metric):
            self._best.save(step)
        self._workdir.add_scores(rows)

    def evaluate_missing(self, step):
        """Evaluates a restored GAN that was stopped before its scores."""
        config = self._config
        if not step or not config.evaluate_every:
            return
        due = step % config.evaluate_every == 0 or step >= config.updates
        known = workdir_lib.read_rows(self._workdir.scores)
        if due and not any(row["step"] == step for row in known):
            self.evaluate(step)

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
