"""From a config to the parts of a run; the verbs share it."""

import contextlib
import functools
import math

import keras
import tensorflow as tf

from sngan_tf import augmentation
from sngan_tf import checkpoint
from sngan_tf import data
from sngan_tf import distribution
from sngan_tf import gan
from sngan_tf import losses
from sngan_tf import methods
from sngan_tf import networks
from sngan_tf import protocols
from sngan_tf import schedules
from sngan_tf.errors import UserError
from sngan_tf.errors import as_user_error

# What fields may be that are a choice of few.
_CHOICES = {
    "precision": ("float32", "mixed_bfloat16", "mixed_float16"),
    "checkpoint": ("last", "best"),
    "data.on_bad_image": ("raise", "skip"),
    "evaluation.protocol": protocols.NAMES,
    "evaluation.features": ("classifier", "inception"),
    "evaluation.best": ("score", "frechet_distance", "kernel_distance"),
}
# What each field must be: the rule in words, its test, and the fields.
_RULES = (
    (
        "given",
        lambda value: True,
        (
            "deterministic",
            "distribution",
            "data.name",
            "data.split",
            "data.directory",
            "data.streaming",
            "network.synchronized_batch_norm",
            "network.name",
            "method",
            "loss",
            "evaluation.inception",
            "evaluation.reference",
            "evaluation.split",
        ),
    ),
    (
        "positive",
        lambda value: 0 < value < math.inf,
        (
            "data.image_size",
            "data.batch_size",
            "network.width",
            "network.discriminator_width",
            "network.latent_dim",
            "discriminator_steps",
            "generator_batch_size",
            "updates",
            "optimizer.learning_rate",
            "log_every",
            "keep_checkpoints",
            "steps_per_execution",
            "sampling.count",
            "evaluation.classifier_updates",
        ),
    ),
    (
        "0 or more",
        lambda value: value >= 0,
        (
            "data.min_side",
            "data.num_classes",
            "data.shift",
            "coefficient",
            "auxiliary.discriminator_weight",
            "auxiliary.generator_weight",
            "keep_checkpoints_hours",
            "checkpoint_every",
            "sample_every",
            "evaluate_every",
        ),
    ),
    (
        "-1 or more",
        lambda value: value >= -1,
        ("optimizer.decay_from", "sampling.label"),
    ),
    (
        "in [0, 2^31)",
        lambda value: 0 <= value < 2**31,
        ("seed", "sampling.seed", "evaluation.seed"),
    ),
    (
        "in [0, 1)",
        lambda value: 0 <= value < 1,
        ("optimizer.beta_1", "optimizer.beta_2", "average_decay"),
    ),
    ("0, 1 or 3", lambda value: value in (0, 1, 3), ("data.channels",)),
    ("4 or more", lambda value: value >= 4, ("evaluation.samples",)),
    *(
        (f"one of {', '.join(values)}", values.__contains__, (field,))
        for field, values in _CHOICES.items()
    ),
)


def check(config):
    """Refuses a config that can't be run, before any long work.

    Raises:
        UserError: Naming the field, the rule and the value.
    """
    for rule, holds, fields in _RULES:
        for field in fields:
            _require(config, field, holds, rule)
    size = config.data.image_size
    with as_user_error():
        distribution.check(config.distribution)
        losses.get(config.loss)
        methods.check_loss(config.method, config.loss)
        methods.get(config.method, config.coefficient or None)
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
    if config.optimizer.decay_from >= config.updates:
        raise UserError(
            "`optimizer.decay_from` must be less than `updates`. Received: "
            f"optimizer.decay_from={config.optimizer.decay_from}, "
            f"updates={config.updates}"
        )
    with as_user_error("`data.image_size` or `network.name` don't fit. "):
        networks.check(config.network.name, (size, size, 1))


def set_up(config):
    """Sets the process-wide determinism and compiler."""
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    # TensorFlow's remapper stumbles over the gradients of leaky ReLU, prints
    # an error for each traced graph and gives up; without it nothing is lost.
    tf.config.optimizer.set_experimental_options({"remapping": False})


def load_pictures(config):
    """Returns the `data.Pictures` that the config names."""
    return data.load(
        config.data.name,
        config.data.image_size,
        channels=config.data.channels,
        split=config.data.split,
        directory=config.data.directory or None,
        min_side=config.data.min_side,
        num_classes=config.data.num_classes,
        conditional=is_conditional(config),
        streaming=config.data.streaming,
        on_bad_image=config.data.on_bad_image,
        progress=True,
    )


def is_conditional(config):
    """Returns whether the config's networks use labels."""
    return networks.NETWORKS[config.network.name].conditional


def resolve(config, pictures):
    """Sets the fields that were left for the data to say."""
    config.data.channels = pictures.images.shape[-1]
    config.data.num_classes = len(pictures.class_names)


def build_gan(config):
    """Returns a compiled `GAN`, its variables under the current strategy.

    Args:
        config: A checked config, resolved.
    """
    # Here, so that nothing made before changes the weights.
    keras.utils.set_random_seed(config.seed)
    size = config.data.image_size
    method = methods.get(config.method, config.coefficient or None)
    num_classes = config.data.num_classes if is_conditional(config) else None
    _check_label(config.sampling.label, num_classes)
    with _dtype_policy(config.precision):
        generator, discriminator = networks.build(
            config.network.name,
            (size, size, config.data.channels),
            latent_dim=config.network.latent_dim,
            width=config.network.width,
            method=method,
            num_classes=num_classes,
            discriminator_width=config.network.discriminator_width,
        )
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    if config.network.synchronized_batch_norm and replicas > 1:
        for network in (generator, discriminator):
            networks.synchronize_batch_norm(network)
    model = gan.GAN(
        generator,
        discriminator,
        loss=config.loss,
        discriminator_steps=config.discriminator_steps,
        generator_batch_size=config.generator_batch_size,
        num_classes=num_classes,
        gradient_penalty=(
            method.coefficient if method.gradient_penalty else 0.0
        ),
        auxiliary_weights=(
            config.auxiliary.discriminator_weight,
            config.auxiliary.generator_weight,
        ),
        augmentation=functools.partial(
            augmentation.random_shift, pixels=config.data.shift
        ),
        average_decay=config.average_decay,
        seed=config.seed,
    )
    model.compile(
        generator_optimizer=_adam(config, steps_per_update=1),
        discriminator_optimizer=_adam(
            config, steps_per_update=config.discriminator_steps
        ),
        steps_per_execution=config.steps_per_execution,
    )
    return model


def restore_gan(config, workdir, which=None):
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
            f"python main.py --mode=train --workdir={workdir.path}"
            + (" with `evaluate_every` set" if which == "best" else "")
        )
    set_up(config)
    config.data.update(
        {
            field: workdir.saved_config()["data"][field]
            for field in ("channels", "num_classes")
        }
    )
    model = build_gan(config)
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


def _check_label(label, num_classes):
    if label >= (num_classes or 0):
        rule = f"less than {num_classes}" if num_classes else "-1"
        raise UserError(
            f"`sampling.label` must be {rule} with these networks and data. "
            f"Received: sampling.label={label}"
        )


def _adam(config, steps_per_update):
    learning_rate = config.optimizer.learning_rate
    if config.optimizer.decay_from >= 0:
        learning_rate = schedules.LinearDecay(
            learning_rate,
            config.optimizer.decay_from,
            config.updates,
            steps_per_update,
        )
    adam = keras.optimizers.Adam(
        learning_rate,
        beta_1=config.optimizer.beta_1,
        beta_2=config.optimizer.beta_2,
    )
    if config.precision == "mixed_float16":
        return keras.optimizers.LossScaleOptimizer(adam)
    return adam


def _require(config, field, holds, rule):
    value = config
    for key in field.split("."):
        if key not in value:
            raise UserError(f"The config lacks the field `{field}`")
        value = value[key]
    if not holds(value):
        raise UserError(f"`{field}` must be {rule}. Received: {field}={value}")
