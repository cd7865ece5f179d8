"""From a config to the parts of a run; the verbs share it."""

import contextlib
import difflib
import logging
import os

import keras
import tensorflow as tf

from sngan_tf import data
from sngan_tf import networks
from sngan_tf.errors import UserError
from sngan_tf.errors import as_user_error
from sngan_tf.gan import adam
from sngan_tf.gan import augmentation
from sngan_tf.gan import methods
from sngan_tf.gan import schedules
from sngan_tf.gan.model import GAN
from sngan_tf.runs import checkpoint
from sngan_tf.runs import extensions
from sngan_tf.runs import fields

_LOGGER = logging.getLogger(__name__)


def check(config):
    """Refuses a config that can't be run, before any long work.

    Raises:
        UserError: Naming the field, the rule and the value.
    """
    extend(config)
    fields.check(config)
    if config.pretrained:
        raise UserError(
            "`pretrained` is for --mode=sample and --mode=serve. "
            f"Received: pretrained={config.pretrained}"
        )
    size = config.data.image_size
    with as_user_error():
        methods.check_loss(config.method, config.loss)
        method = methods.get(config.method, config.coefficient or None)
        for callback in method.callbacks():
            callback.check_executions(config.steps_per_execution)
    for field in (
        "updates",
        "log_every",
        "checkpoint_every",
        "sample_every",
        "evaluate_every",
    ):
        if config[field] % config.steps_per_execution:
            raise UserError(
                f"`{field}` must be a multiple of `steps_per_execution`. "
                f"Received: {field}={config[field]}, "
                f"steps_per_execution={config.steps_per_execution}"
            )
    if config.export.formats and config.precision != "float32":
        raise UserError(
            "`export.formats` must be empty unless `precision` is float32, as "
            "converters know no other. Received: export.formats="
            f"{config.export.formats}, precision={config.precision}"
        )
    if config.optimizer.decay_from >= config.updates:
        raise UserError(
            "`optimizer.decay_from` must be less than `updates`. Received: "
            f"optimizer.decay_from={config.optimizer.decay_from}, "
            f"updates={config.updates}"
        )
    with as_user_error("`data.image_size` or `network` don't fit. "):
        networks.check(
            config.network.name,
            (size, size, 1),
            last_width=config.network.last_width,
        )


def extend(config):
    """Loads a config's extensions; the rules of its fields know them then.

    Raises:
        UserError: As of `extensions.load`.
    """
    fields.check(config, ["extensions"])
    # Absolute, for those who go on from another folder.
    config.extensions = extensions.load(config.extensions)


def set_up(config):
    """Sets the process-wide threads, determinism and compiler.

    Before TensorFlow is used, as threads stay as they are from then on.
    """
    if config.operation_threads:
        try:
            tf.config.threading.set_intra_op_parallelism_threads(
                config.operation_threads
            )
        except RuntimeError:
            _LOGGER.warning(
                "`operation_threads` has no effect, as TensorFlow was used "
                "before in this process"
            )
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    # TensorFlow's remapper stumbles over the gradients of leaky ReLU, prints
    # an error for each traced graph and gives up; without it nothing is lost.
    tf.config.optimizer.set_experimental_options({"remapping": False})


def onednn():
    """Returns whether TensorFlow computes by oneDNN on CPUs, in words."""
    value = os.environ.get("TF_ENABLE_ONEDNN_OPTS")
    if value is None:
        return "as TensorFlow decides (TF_ENABLE_ONEDNN_OPTS is not set)"
    state = "off" if value.lower() in ("0", "false") else "on"
    return f"{state} (TF_ENABLE_ONEDNN_OPTS={value})"


def pictures(config):
    """Returns the `data.Pictures` that the config names."""
    return data.load(
        config.data.name,
        config.data.image_size,
        channels=config.data.channels,
        background=config.data.background,
        split=config.data.split,
        directory=config.data.directory or None,
        min_side=config.data.min_side,
        num_classes=config.data.num_classes,
        conditional=is_conditional(config),
        streaming=config.data.streaming,
        recursive=config.data.recursive,
        on_bad_image=config.data.on_bad_image,
        progress=True,
    )


def is_conditional(config):
    """Returns whether the config's networks use labels."""
    return networks.NETWORKS[config.network.name].conditional


def resolve(config, pictures):
    """Sets the fields that were left for the data to say.

    Raises:
        UserError: On names of other classes than those of the data.
    """
    given = config.data.class_names
    if given and given != pictures.class_names:
        raise UserError(
            "`data.class_names` must be those of the data. Received: "
            f"{', '.join(given)}, where {pictures.reference} has "
            f"{', '.join(pictures.class_names) or 'none'}"
        )
    config.data.channels = pictures.images.shape[-1]
    config.data.num_classes = len(pictures.class_names)
    config.data.class_names = pictures.class_names


def gan(config):
    """Returns a compiled `GAN`, its variables under the current strategy.

    Args:
        config: A checked config, resolved. A name in `sampling.label` becomes
            the number of its class.
    """
    # Here, so that nothing made before changes the weights.
    keras.utils.set_random_seed(config.seed)
    size = config.data.image_size
    method = methods.get(config.method, config.coefficient or None)
    num_classes = config.data.num_classes if is_conditional(config) else None
    resolve_label(config, num_classes or 0)
    with _dtype_policy(config.precision):
        generator, discriminator = networks.build(
            config.network.name,
            (size, size, config.data.channels),
            latent_dim=config.network.latent_dim,
            width=config.network.width,
            method=method,
            num_classes=num_classes,
            discriminator_width=config.network.discriminator_width,
            last_width=config.network.last_width,
        )
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    if config.network.synchronized_batch_norm and replicas > 1:
        for network in (generator, discriminator):
            networks.synchronize_batch_norm(network)
    model = GAN(
        generator,
        discriminator,
        loss=config.loss,
        discriminator_steps=config.discriminator_steps,
        generator_batch_size=config.generator_batch_size,
        num_classes=num_classes,
        **method.arguments,
        auxiliary_weights=(
            config.auxiliary.discriminator_weight,
            config.auxiliary.generator_weight,
        ),
        augmentation=augmentation.RandomShift(config.data.shift),
        average_decay=config.average_decay,
        # Another run's weights are not to be forgotten soon.
        average_warmup=config.average_warmup and not config.start_from,
        seed=config.seed,
        class_names=config.data.class_names if num_classes else (),
    )
    model.compile(
        generator_optimizer=_adam(config, steps_per_update=1),
        discriminator_optimizer=_adam(
            config, steps_per_update=config.discriminator_steps
        ),
        steps_per_execution=config.steps_per_execution,
    )
    return model


def method_callbacks(config, gan):
    """Returns callbacks of a config's method, which have the GAN already."""
    callbacks = methods.get(config.method).callbacks()
    for callback in callbacks:
        callback.set_model(gan)
    return callbacks


def restored_gan(config, workdir, which=None):
    """Returns the GAN of a checkpoint of a workdir; needs no data.

    Args:
        config: A config.
        workdir: `workdir.Workdir`.
        which: `"last"` or `"best"`; by default `config.checkpoint`.

    Raises:
        UserError: If there is no checkpoint of this config.
    """
    check(config)
    workdir.check(config)
    which = which or config.checkpoint
    directory = workdir.best if which == "best" else workdir.checkpoints
    if not any(directory.glob("*.index")):
        raise UserError(
            f"There is no checkpoint in {directory}; train first: "
            f"{workdir.command('train')}"
            + (" with `evaluate_every` set" if which == "best" else "")
        )
    set_up(config)
    config.update_from_flattened_dict(workdir.resolved())
    model = gan(config)
    checkpoint.Checkpoints(
        model, directory, keep=config.keep_checkpoints
    ).restore()
    return model


@contextlib.contextmanager
def _dtype_policy(name):
    # For the GAN's layers alone: the networks that score stay float32.
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def resolve_label(config, count):
    """Makes a name in `sampling.label` the number of its class.

    Raises:
        UserError: If it is none of so many classes.
    """
    label, names = config.sampling.label, config.data.class_names
    number = names.index(label) if label in names else label
    if isinstance(number, str) or number >= count:
        rule = f"less than {count}" if count else "-1"
        if count and names:
            near = difflib.get_close_matches(str(label), names) or names[:3]
            rule += f" or the name of a class, such as {', '.join(near)},"
        raise UserError(
            f"`sampling.label` must be {rule} with these networks and data. "
            f"Received: sampling.label={label}"
        )
    config.sampling.label = number


def _adam(config, steps_per_update):
    learning_rate = config.optimizer.learning_rate
    if config.optimizer.decay_from >= 0:
        learning_rate = schedules.LinearDecay(
            learning_rate,
            config.optimizer.decay_from,
            config.updates,
            steps_per_update,
        )
    return adam.Adam(
        learning_rate,
        beta_1=config.optimizer.beta_1,
        beta_2=config.optimizer.beta_2,
    )
