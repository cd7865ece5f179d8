"""`--mode=train`: trains a GAN in a workdir, from its last checkpoint on."""

import contextlib
import logging

import tensorflow as tf

from sngan_tf import data
from sngan_tf import files
from sngan_tf.errors import UserError
from sngan_tf.errors import as_user_error
from sngan_tf.errors import first_line
from sngan_tf.runs import build
from sngan_tf.runs import callbacks as callbacks_lib
from sngan_tf.runs import checkpoint
from sngan_tf.runs import distribution
from sngan_tf.runs import interrupts as interrupts_lib
from sngan_tf.runs import loading
from sngan_tf.runs import page
from sngan_tf.runs import records as records_lib
from sngan_tf.runs import scoring
from sngan_tf.runs import sessions

_LOGGER = logging.getLogger(__name__)


def train(config, workdir, pictures=None, make_scorer=None, callbacks=()):
    """Trains until `config.updates`.

    On several hosts every one of them calls this, and the chief alone writes.

    Args:
        config: A config with every field of `runs.fields`.
        workdir: `workdir.Workdir`.
        pictures: `data.Pictures` of the config, if they are loaded already.
        make_scorer: What `scoring.maker` makes of it, if it is made already.
        callbacks: Further ones, the last to be called.

    Returns:
        The trained `GAN`.

    Raises:
        Interrupted: After SIGTERM or Ctrl-C; what was reached is saved.
        UserError: On a config, data set or workdir that can't be used, on a
            loss that is not finite, a disk that can't be written, and a host
            that is lost.
    """
    # Check everything that costs nothing.
    build.check(config)
    with as_user_error():
        distribution.check(config.distribution)
    workdir.check(config)
    if not workdir.has_checkpoint():
        loading.check_start(config)
    workdir.check_writable()
    is_chief = distribution.is_chief(config.distribution)
    if is_chief:
        workdir.check_free()
    build.set_up(config)
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
    _LOGGER.info("oneDNN: %s", build.onednn())

    # Load the pictures.
    if pictures is None:
        pictures = build.pictures(config)
    data.check_enough(
        pictures, config.data.batch_size, config.discriminator_steps
    )
    build.resolve(config, pictures)
    _LOGGER.info("Loaded %d pictures: %s", len(pictures), pictures.reference)

    # What scores need may be missing.
    if not config.evaluate_every or not is_chief:
        make_scorer = None
    elif make_scorer is None:
        make_scorer = scoring.maker(config, pictures, "quick")

    with workdir.locked() if is_chief else contextlib.nullcontext():
        if is_chief:
            files.forget_left(workdir.path)
            workdir.prepare(config)
        try:
            return _train(
                config,
                workdir,
                strategy,
                pictures,
                make_scorer,
                is_chief,
                callbacks,
            )
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


def _train(config, workdir, strategy, pictures, make_scorer, is_chief, further):
    # Build the GAN and go back to its last checkpoint.
    gather = None
    if distribution.has_several_hosts(strategy):
        gather = distribution.gatherer(strategy)
    with strategy.scope():
        gan = build.gan(config)
        of_method = build.method_callbacks(config, gan)
        checkpoints = checkpoint.Checkpoints(
            gan,
            workdir.checkpoints,
            config.keep_checkpoints,
            config.keep_checkpoints_hours,
            [v for callback in of_method for v in callback.variables],
        )
        start = checkpoints.restore()
        if not start and config.start_from:
            start = loading.start(gan, config)
            _LOGGER.info(
                "Started with %s of %s", config.start_with, config.start_from
            )
    if gather and len(starts := set(gather(start))) > 1:
        raise UserError(
            "`workdir` must be the same folder on all hosts, with the same "
            f"checkpoints. Received: those of updates {sorted(starts)}"
        )
    save = checkpoints.save if is_chief else lambda step: None

    # Train.
    with contextlib.ExitStack() as stack:
        interrupts = stack.enter_context(interrupts_lib.Interrupts())
        stop = callbacks_lib.StopOnNonFinite(
            (
                config.log_every,
                config.sample_every,
                config.checkpoint_every,
                config.evaluate_every,
            )
        )
        # First, so that what is kept of a step is that of its edited weights.
        kept = [*of_method, stop]
        if is_chief:
            workdir.forget_after(start)
            real = None
            if config.spectra.log_gradients:
                real = _first_batch(config, pictures)
            records = records_lib.Records(
                config, workdir, gan, make_scorer, interrupts, real
            )
            records.evaluate_missing(start)
            kept += records.callbacks(save)
            stack.callback(records.close)
            if start < config.updates:
                stack.enter_context(
                    sessions.recorded(
                        workdir.sessions,
                        lambda: int(gan.step.numpy()),
                        strategy.num_replicas_in_sync,
                    )
                )

        def save_checked(step):
            stop.check(step)
            save(step)

        kept.append(
            interrupts_lib.StopOnSignal(interrupts, save_checked, gather)
        )
        if start < config.updates:
            _LOGGER.info("Training from update %d to %d", start, config.updates)
            _fit(
                gan,
                _batches(config, strategy, pictures, start),
                start,
                config.updates,
                [*kept, *further],
            )
            if not config.checkpoint_every:
                save(config.updates)
        else:
            _LOGGER.info("Trained for %d updates already", start)
        if is_chief:
            records.evolution()
    if is_chief:
        _report(workdir)
    return gan


def _report(workdir):
    try:
        page.write([workdir], workdir.report)
    except Exception as error:  # The training is done, whatever it is.
        _LOGGER.warning(
            "%s can't be made: %s", workdir.report, first_line(error)
        )


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


def _first_batch(config, pictures):
    """Returns what the first discriminator update of the run is given."""
    batches = data.training_batches(
        pictures,
        config.data.batch_size,
        seed=config.seed,
        with_labels=build.is_conditional(config),
    )
    return next(iter(batches))


def _batches(config, strategy, pictures, start):
    def of_replicas(replicas, num_replicas):
        return data.training_batches(
            pictures,
            config.data.batch_size,
            seed=config.seed,
            start=start,
            with_labels=build.is_conditional(config),
            discriminator_steps=config.discriminator_steps,
            replicas=replicas,
            num_replicas=num_replicas,
        )

    return distribution.distribute(strategy, of_replicas)
