"""A run's GAN: for Python, and for other runs to start with."""

from typing import Any
from typing import Literal

from keras import ops

from sngan_tf import types
from sngan_tf.errors import UserError
from sngan_tf.gan.model import GAN
from sngan_tf.runs import build
from sngan_tf.runs import checkpoint as checkpoint_lib
from sngan_tf.runs import extensions as extensions_lib
from sngan_tf.runs import fields
from sngan_tf.runs import workdir as workdir_lib

# What must be as in the run that another starts with.
_OF_NETWORKS = (
    "data.image_size",
    "data.channels",
    "network.name",
    "network.width",
    "network.discriminator_width",
    "network.last_width",
    "network.latent_dim",
    "method",
)
_OF_CLASSES = ("data.num_classes",)
_OF_ALL = ("precision", "discriminator_steps")


def load_run(
    workdir: types.Path,
    checkpoint: Literal["last", "best"] = "last",
    extensions: str | None = None,
) -> GAN:
    """Returns the GAN of a run, compiled, as a checkpoint of it has it.

    Its `sampler` makes pictures, and it trains on by `fit`. Keras's global
    seed becomes that of the run.

    Args:
        workdir: The run's folder.
        checkpoint: `"last"` or `"best"`.
        extensions: As the field of that name, in place of the run's own. These
            are code, and aren't run: with None they must be loaded already.

    Raises:
        UserError: If there is no run or checkpoint, none can be read, or the
            run has extensions and none are given or loaded.

    Example:
        >>> gan = sngan_tf.load_run("runs/digits")
        >>> images = gan.sampler.many(seed=0, count=16)  # uint8
    """
    if checkpoint not in ("last", "best"):
        raise UserError(
            "`checkpoint` must be one of last, best. "
            f"Received: checkpoint={checkpoint}"
        )
    run = workdir_lib.Workdir(workdir)
    config = run.own_config()
    if extensions is not None:
        config.extensions = extensions
    elif not extensions_lib.are_loaded(config.extensions):
        raise UserError(
            "`extensions` must be given to load a run that has some, as they "
            f"are code. Received: {config.extensions} in {run.config}"
        )
    # That would be for the whole process.
    config.deterministic = False
    return build.restored_gan(config, run, checkpoint)


def check_start(config: Any) -> None:
    """Refuses a run to start from that isn't one, or is of other networks.

    Raises:
        UserError: Naming the first field that differs; or if there is no
            checkpoint, or with `all` one of as many updates already.
    """
    if not config.start_from:
        return
    run = workdir_lib.Workdir(config.start_from)
    step = checkpoint_lib.latest_step(run.checkpoints)
    if not step:
        raise UserError(
            "`start_from` must be the workdir of a run with a checkpoint. "
            f"Received: start_from={config.start_from}"
        )
    source = run.own_config()
    if config.start_with == "all" and step >= config.updates:
        raise UserError(
            "`updates` must be more than the run of `start_from` has. "
            f"Received: updates={config.updates}, {step} in {config.start_from}"
        )
    names = _OF_NETWORKS
    if build.is_conditional(config):
        names += _OF_CLASSES
    if config.start_with == "all":
        names += _OF_ALL
    theirs, ours = (fields.flat(c.to_dict()) for c in (source, config))
    for name in names:
        # 0 is left for the data to say.
        if ours[name] != theirs[name] and ours[name] != 0:
            raise UserError(
                f"`{name}` must be as in the run of `start_from`. Received: "
                f"{name}={ours[name]}, {theirs[name]} in {config.start_from}"
            )


def start(gan: GAN, config: Any) -> int:
    """Gives a new GAN what the run of `start_from` has.

    Args:
        gan: A compiled `GAN`.
        config: Its config, resolved.

    Returns:
        The step to go on from.

    Raises:
        UserError: As `check_start`, or if no checkpoint can be read.
    """
    check_start(config)
    source = load_run(config.start_from, extensions=config.extensions)
    _copy(source.generator.weights, gan.generator.weights)
    _copy(source.discriminator.weights, gan.discriminator.weights)
    if gan.average_generator:
        _copy(source.sampling_generator.weights, gan.average_generator.weights)
    if config.start_with == "networks":
        return 0
    for optimizer in ("generator_optimizer", "discriminator_optimizer"):
        _copy(
            _slots(getattr(source, optimizer)), _slots(getattr(gan, optimizer))
        )
    gan.step.assign(source.step)
    return int(source.step.numpy())


def _slots(optimizer):
    """Returns what an optimizer has counted and averaged, not its rate."""
    return [v for v in optimizer.variables if v.name != "learning_rate"]


def _copy(sources, variables):
    for source, variable in zip(sources, variables, strict=True):
        variable.assign(ops.convert_to_numpy(source))
