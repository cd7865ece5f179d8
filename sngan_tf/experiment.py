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
from sngan_tf.errors import UserError
from sngan_tf.errors import as_user_error

_PRECISIONS = ("float32", "mixed_bfloat16")
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
            "network.name",
            "method",
            "loss",
        ),
    ),
    (
        "positive",
        lambda value: 0 < value < math.inf,
        (
            "data.image_size",
            "data.batch_size",
            "network.width",
            "network.latent_dim",
            "discriminator_steps",
            "updates",
            "optimizer.learning_rate",
            "log_every",
            "keep_checkpoints",
            "sampling.count",
            "evaluation.classifier_updates",
        ),
    ),
    (
        "0 or more",
        lambda value: value >= 0,
        ("data.shift", "checkpoint_every", "sample_every", "evaluate_every"),
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
    ("2 or more", lambda value: value >= 2, ("evaluation.samples",)),
    (
        f"one of {', '.join(_PRECISIONS)}",
        lambda value: value in _PRECISIONS,
        ("precision",),
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
        methods.get(config.method)
    with as_user_error("`data.image_size` or `network.name` don't fit. "):
        networks.check(config.network.name, (size, size, 1))


def set_up(config):
    """Sets the process-wide seeds, determinism and compiler."""
    keras.utils.set_random_seed(config.seed)
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
        progress=True,
    )


def build_gan(config):
    """Returns a compiled `GAN`, its variables under the current strategy.

    Args:
        config: A checked config, its `data.channels` resolved.
    """
    size = config.data.image_size
    with _dtype_policy(config.precision):
        generator, discriminator = networks.build(
            config.network.name,
            (size, size, config.data.channels),
            latent_dim=config.network.latent_dim,
            width=config.network.width,
            method=config.method,
        )
    model = gan.GAN(
        generator,
        discriminator,
        loss=config.loss,
        discriminator_steps=config.discriminator_steps,
        augmentation=functools.partial(
            augmentation.random_shift, pixels=config.data.shift
        ),
        average_decay=config.average_decay,
        seed=config.seed,
    )
    model.compile(
        generator_optimizer=_adam(config), discriminator_optimizer=_adam(config)
    )
    return model


def restore_gan(config, workdir):
    """Returns the GAN of a workdir's newest checkpoint; needs no data.

    Raises:
        UserError: If there is no checkpoint of this config.
    """
    check(config)
    workdir.check(config)
    if not workdir.has_checkpoint():
        raise UserError(
            f"There is no checkpoint in {workdir.checkpoints}; train first: "
            f"python main.py --mode=train --workdir={workdir.path}"
        )
    set_up(config)
    config.data.channels = workdir.saved_config()["data"]["channels"]
    model = build_gan(config)
    checkpoints(config, model, workdir).restore()
    return model


def checkpoints(config, model, workdir):
    """Returns the `Checkpoints` of a run."""
    return checkpoint.Checkpoints(
        model, workdir.checkpoints, keep=config.keep_checkpoints
    )


@contextlib.contextmanager
def _dtype_policy(name):
    # For the GAN's layers alone: the networks that score stay float32.
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _adam(config):
    return keras.optimizers.Adam(
        config.optimizer.learning_rate,
        beta_1=config.optimizer.beta_1,
        beta_2=config.optimizer.beta_2,
    )


def _require(config, field, holds, rule):
    value = config
    for key in field.split("."):
        if key not in value:
            raise UserError(f"The config lacks the field `{field}`")
        value = value[key]
    if not holds(value):
        raise UserError(f"`{field}` must be {rule}. Received: {field}={value}")
