"""Every field of a config: default, rule and meaning, in the data's order.

The one place where a field is said. Configs override defaults; the command
prints this table with `--fields`. Published settings have their source, and
"our choice" marks where the paper is silent. Counts of updates are of generator
updates throughout.
"""

import dataclasses
import importlib
import math
from collections.abc import Callable

from sngan_tf import errors
from sngan_tf.errors import UserError

with errors.extra("train"):
    import ml_collections


@dataclasses.dataclass(frozen=True)
class Rule:
    """What a value must be.

    Attributes:
        words: Says it, after "must be"; a string or a function to one.
        holds: `(value) -> bool`.
    """

    words: str | Callable
    holds: Callable

    def __str__(self):
        return self.words if isinstance(self.words, str) else self.words()


@dataclasses.dataclass(frozen=True)
class Field:
    """One field.

    Attributes:
        name: Its name, after that of its section and a dot if it has one.
        default: Its value where no config says another; None if it follows.
        rule: `Rule` of its values.
        meaning: What it is.
        free: Whether a run that goes on may change it; any other change makes
            another run.
        follows: Field whose value it has by default.
        kind: Type of its values, by default that of `default`.
        before: What runs from before the field did, if not `default`.
    """

    name: str
    default: object
    rule: Rule
    meaning: str
    free: bool = False
    follows: str = ""
    kind: type | None = None
    before: object = None


def _one_of(*names):
    return Rule(f"one of {', '.join(names)}", names.__contains__)


def _key_of(module, listed, *unlisted):
    # Not before it is asked for: fields are known before Keras, which takes
    # seconds to import.
    def names(attribute):
        module_of_names = importlib.import_module(f"sngan_tf.{module}")
        return getattr(module_of_names, attribute)

    return Rule(
        lambda: f"one of {', '.join(names(listed))}",
        lambda value: any(value in names(a) for a in (listed, *unlisted)),
    )


def _strategy():
    def module():
        return importlib.import_module("sngan_tf.runs.distribution")

    return Rule(
        lambda: f"one of {', '.join(module().NAMES)} or tpu:NAME",
        lambda value: module().is_name(value),
    )


def _pretrained():
    def names():
        module = importlib.import_module("sngan_tf.networks.pretrained")
        return module.names()

    return Rule(
        lambda: f"empty or one of {', '.join(names())}",
        lambda value: value == "" or value in names(),
    )


_BOOL = Rule("True or False", lambda value: isinstance(value, bool))
_TEXT = Rule("text", lambda value: isinstance(value, str))
_SEED = Rule("in [0, 2^31)", lambda value: 0 <= value < 2**31)
_POSITIVE = Rule("positive", lambda value: 0 < value < math.inf)
_NOT_NEGATIVE = Rule("0 or more", lambda value: value >= 0)
_FROM_MINUS_1 = Rule("-1 or more", lambda value: value >= -1)
_SHARE = Rule("in [0, 1]", lambda value: 0 <= value <= 1)
_DECAY = Rule("in [0, 1)", lambda value: 0 <= value < 1)
_CHANNELS = Rule("0, 1 or 3", lambda value: value in (0, 1, 3))
_NAMES = Rule(
    "names in parentheses",
    lambda values: (
        isinstance(values, (tuple, list))
        and all(isinstance(value, str) for value in values)
    ),
)
_FORMATS = Rule(
    "empty, onnx, litert or onnx,litert",
    lambda value: {*value.split(",")} <= {"", "onnx", "litert"},
)
_LABEL = Rule(
    "-1 or more, or a name",
    lambda value: (
        isinstance(value, str) or (type(value) is int and value >= -1)
    ),
)

FIELDS = (
    # The run.
    Field(
        "extensions",
        "",
        _TEXT,
        "Python files, or modules, with methods, networks, data sets and "
        "metrics, with a comma between; see docs/extend. They are run.",
        free=True,
    ),
    Field("seed", 0, _SEED, "Weights, data order, latents and augmentation."),
    Field(
        "deterministic",
        False,
        _BOOL,
        "Operations that repeat to the bit, slower.",
        free=True,
    ),
    Field(
        "distribution",
        "auto",
        _strategy(),
        "auto: what the machine has; or one_device, mirrored (GPUs of a host), "
        "multi_worker (hosts of TF_CONFIG), tpu or tpu:NAME.",
        free=True,
    ),
    Field(
        "precision",
        "float32",
        _one_of("float32", "mixed_bfloat16", "mixed_float16"),
        "Of the networks' arithmetic; weights are float32 throughout.",
    ),
    Field(
        "operation_threads",
        0,
        _NOT_NEGATIVE,
        "Threads of one operation on a CPU; 0 as many as cores. Small ones are "
        "sooner done by 1 each, side by side.",
        free=True,
    ),
    Field(
        "steps_per_execution",
        1,
        _POSITIVE,
        "Updates that are run without a look at them; of each `_every` and of "
        "`updates` a divisor.",
        free=True,
    ),
    Field(
        "start_from",
        "",
        _TEXT,
        "Workdir of a run whose last checkpoint this one starts with; empty "
        "for new weights.",
    ),
    Field(
        "start_with",
        "networks",
        _one_of("networks", "all"),
        "What of it: the networks, with u and the average, or all, which is "
        "the optimizers and the step too.",
    ),
    # Pictures.
    Field(
        "data.name",
        "digits",
        _TEXT,
        "digits, folder:PATH, a tensorflow-datasets name, or one of an "
        "extension.",
    ),
    Field("data.split", "train", _TEXT, "Split of a tensorflow-datasets set."),
    Field(
        "data.directory",
        "",
        _TEXT,
        "Where tensorflow-datasets keeps data; empty for its default.",
        free=True,
    ),
    Field("data.image_size", 32, _POSITIVE, "Pixels a side."),
    Field(
        "data.min_side",
        0,
        _NOT_NEGATIVE,
        "Leave out pictures with a shorter side, bring the others to this "
        "size first; 0 neither.",
    ),
    Field(
        "data.channels",
        0,
        _CHANNELS,
        "1 gray, 3 colour, 0 as the pictures are.",
    ),
    Field(
        "data.background",
        "white",
        _one_of("white", "black"),
        "What transparent pictures are laid on.",
    ),
    Field(
        "data.num_classes",
        0,
        _NOT_NEGATIVE,
        "Classes that the data must have; 0 as it has.",
    ),
    Field(
        "data.class_names",
        (),
        _NAMES,
        "Their names, in the order of the labels; () as the data has.",
    ),
    Field(
        "data.batch_size",
        64,
        _POSITIVE,
        "Real pictures per discriminator update, over all replicas. Not in the "
        "paper; 64 in the authors' CNN code.",
    ),
    Field(
        "data.streaming",
        False,
        _BOOL,
        "Read a folder's pictures when they are needed, again in each epoch, "
        "instead of all at first.",
        free=True,
    ),
    Field(
        "data.recursive",
        False,
        _BOOL,
        "Read a folder's pictures in folders of folders too: all below a class "
        "folder are of its class; all below one that holds pictures, without "
        "labels.",
    ),
    Field(
        "data.on_bad_image",
        "raise",
        _one_of("raise", "skip"),
        "What to do about pictures that can't be read.",
        free=True,
    ),
    Field(
        "data.shift",
        0,
        _NOT_NEGATIVE,
        "Largest random shift, in pixels, of real and fake pictures alike "
        "before the discriminator; 0 as in the paper.",
    ),
    # Networks and method.
    Field(
        "network.name",
        "cnn",
        _key_of("networks", "NETWORKS"),
        "cnn (Table 3), resnet (Tables 4-6), resnet_concat (6c), "
        "resnet_projection, gulrajani_resnet (7), acgan_resnet (8).",
    ),
    Field(
        "network.width",
        1.0,
        _POSITIVE,
        "Factor on all numbers of feature maps.",
    ),
    Field(
        "network.discriminator_width",
        1.0,
        _POSITIVE,
        "A further one on the discriminator's; 1.5 in Tables 7 and 8.",
    ),
    Field(
        "network.last_width",
        1.0,
        _POSITIVE,
        "A further one on the maps into and out of the discriminator's last "
        "convolution, of cnn alone; 0.5 to 8 in Fig. 4.",
    ),
    Field("network.latent_dim", 128, _POSITIVE, "d_z, section 4."),
    Field(
        "network.synchronized_batch_norm",
        True,
        _BOOL,
        "Statistics of all replicas, as one device has them; False: of each "
        "replica, faster.",
    ),
    Field(
        "method",
        "spectral_norm",
        _key_of("gan.methods", "METHODS", "FOR_STUDIES"),
        "What holds the discriminator; a row of sngan_tf/gan/methods.py. "
        "Those of SR-GAN edit kernels every 5th update, which "
        "`steps_per_execution` must divide.",
    ),
    Field(
        "coefficient",
        0.0,
        _NOT_NEGATIVE,
        "Of the method: lambda, gamma, c or bound; 0 its own.",
    ),
    Field(
        "auxiliary.discriminator_weight",
        1.0,
        _NOT_NEGATIVE,
        "Of acgan_resnet's classifier loss on real pictures, as Gulrajani et "
        "al. 2017.",
    ),
    Field(
        "auxiliary.generator_weight",
        0.1,
        _NOT_NEGATIVE,
        "The same on generated ones.",
    ),
    Field(
        "loss",
        "hinge",
        _key_of("gan.losses", "LOSSES"),
        "Adversarial loss; which go with a method, sngan_tf/gan/methods.py "
        "says. relativistic (RpGAN) compares pairs of real and fake.",
    ),
    # Training: setting C of Table 1.
    Field("discriminator_steps", 1, _POSITIVE, "n_dis."),
    Field(
        "generator_batch_size",
        None,
        _POSITIVE,
        "Fake pictures per generator update, over all replicas.",
        follows="data.batch_size",
    ),
    Field(
        "updates",
        100_000,
        _POSITIVE,
        "Generator updates, section 4.",
        free=True,
    ),
    Field(
        "average_decay",
        0.0,
        _DECAY,
        "Of the averaged generator, per update; 0 none, as in the paper.",
    ),
    Field(
        "average_warmup",
        True,
        _BOOL,
        "Average the first n updates with a decay of at most (1 + n) / "
        "(10 + n), so that the beginning is soon forgotten; not in a run that "
        "starts from another.",
        before=False,
    ),
    Field("optimizer.learning_rate", 2e-4, _POSITIVE, "Adam's alpha."),
    Field("optimizer.beta_1", 0.5, _DECAY, "Adam's."),
    Field("optimizer.beta_2", 0.999, _DECAY, "Adam's."),
    Field(
        "optimizer.decay_from",
        -1,
        _FROM_MINUS_1,
        "Update from which the rate falls linearly to 0 at the last; -1 never.",
    ),
    # What is kept of a run; every counts updates.
    Field(
        "log_every",
        100,
        _POSITIVE,
        "Updates between two lines of the log.",
        free=True,
    ),
    Field(
        "checkpoint_every",
        1_000,
        _NOT_NEGATIVE,
        "Updates between two checkpoints; 0 only at the end.",
        free=True,
    ),
    Field(
        "keep_checkpoints",
        3,
        _POSITIVE,
        "Of the newest checkpoints, how many are kept.",
        free=True,
    ),
    Field(
        "keep_checkpoints_hours",
        0.0,
        _NOT_NEGATIVE,
        "Of those before, one for every so many hours is kept; 0 none.",
        free=True,
    ),
    Field(
        "sample_every",
        1_000,
        _NOT_NEGATIVE,
        "Updates between two grids of samples; 0 never.",
        free=True,
    ),
    Field(
        "evaluate_every",
        5_000,
        _NOT_NEGATIVE,
        "Updates between two scorings; 0 never.",
        free=True,
    ),
    # What is watched of the discriminator's kernels.
    Field(
        "spectra.log_gradients",
        False,
        _BOOL,
        "At each line of the log, of every discriminator kernel: lambda of "
        "Eq. 12, and the share of the gradient that lies along u v^T. Costs "
        "half an update each time.",
        free=True,
    ),
    Field(
        "spectra.log_values",
        False,
        _BOOL,
        "At each evaluation, all singular values of each discriminator kernel "
        "in effect.",
        free=True,
    ),
    Field(
        "spectra.warn_below",
        0.1,
        _SHARE,
        "Warn at an evaluation of a kernel whose effective rank is below this "
        "share of its singular values; 0 never. Over the main job none falls "
        "below 0.26.",
        free=True,
    ),
    # What is sampled, and what it is scored by.
    Field(
        "checkpoint",
        "last",
        _one_of("last", "best"),
        "Which checkpoint samples, exports and spectra are of.",
        free=True,
    ),
    Field(
        "pretrained",
        "",
        _pretrained(),
        "Generator that comes with the package, of which --mode=sample is in "
        "place of a run's.",
        free=True,
    ),
    Field("sampling.seed", 0, _SEED, "Of the latents of grids.", free=True),
    Field("sampling.count", 100, _POSITIVE, "Pictures in a grid.", free=True),
    Field(
        "sampling.label",
        -1,
        _LABEL,
        "Class of all of them, if conditional: its number, from 0, or else its "
        "name; -1 all classes in turn.",
        free=True,
        kind=object,
    ),
    Field(
        "evaluation.protocol",
        "quick",
        _key_of("metrics.protocols", "NAMES"),
        "Of --mode=evaluate, see sngan_tf/metrics/protocols.py; during "
        "training it is quick.",
        free=True,
    ),
    Field(
        "evaluation.samples",
        5_000,
        Rule("4 or more", lambda value: value >= 4),
        "Of quick: pictures generated, and real ones at most.",
        free=True,
    ),
    Field(
        "evaluation.features",
        "classifier",
        _one_of("classifier", "inception"),
        "Network that scores; IS and FID are inception's.",
        free=True,
    ),
    Field(
        "evaluation.inception",
        "",
        _TEXT,
        "Its SavedModel folder or URL; empty finds it in the cache or fetches "
        "it.",
        free=True,
    ),
    Field(
        "evaluation.classifier",
        "",
        _TEXT,
        "A saved classifier, so that scores compare between machines: cifar10, "
        "which comes with the package, or a .keras file; empty trains one.",
        free=True,
    ),
    Field(
        "evaluation.classifier_updates",
        600,
        _POSITIVE,
        "That it is trained for then, of 64 pictures each, rounded up "
        "to whole epochs.",
        free=True,
    ),
    Field(
        "evaluation.reference",
        "",
        _TEXT,
        "Data set of held-out pictures for paper; empty for data.name.",
        free=True,
    ),
    Field(
        "evaluation.split",
        "test",
        _TEXT,
        "Its split, of a tensorflow-datasets set.",
        free=True,
    ),
    Field(
        "evaluation.best",
        "frechet_distance",
        _one_of("score", "frechet_distance", "kernel_distance"),
        "Score that the best checkpoint is kept by.",
        free=True,
    ),
    Field("evaluation.seed", 1, _SEED, "Of the latents.", free=True),
    # What is exported.
    Field(
        "export.keep",
        3,
        _POSITIVE,
        "Of the newest exported versions, how many are kept.",
        free=True,
    ),
    Field(
        "export.formats",
        "",
        _FORMATS,
        "Of the generator, beside SavedModel and .keras; with a comma between.",
        free=True,
    ),
)


def defaults():
    """Returns a `ConfigDict` of all fields at their defaults."""
    config = ml_collections.ConfigDict()
    for field in FIELDS:
        value = field.default
        if field.follows:
            section, key = _place(config, field.follows)
            value = 1 * section.get_ref(key)
        section, key = _place(config, field.name)
        if field.kind:
            value = ml_collections.FieldReference(value, field_type=field.kind)
        section[key] = value
    return config


def config_of(values):
    """Returns a `ConfigDict` of flat values as JSON has them."""
    config = defaults()
    for name, value in values.items():
        section, key = _place(config, name)
        section[key] = tuple(value) if isinstance(value, list) else value
    return config


def check(config, names=None):
    """Refuses a config in which a field is missing or out of its rule.

    Args:
        config: A config. Where its `extensions` aren't loaded, what they
            bring is out of the rules.
        names: Of the fields that count; None for all.

    Raises:
        UserError: Naming the field, the rule and the value.
    """
    values = flat(config.to_dict())
    for field in FIELDS:
        if names is not None and field.name not in names:
            continue
        if field.name not in values:
            raise UserError(f"The config lacks the field `{field.name}`")
        value = values[field.name]
        if not _holds(field.rule, value):
            raise UserError(
                f"`{field.name}` must be {field.rule}. "
                f"Received: {field.name}={value}"
            )


def flat(config, prefix=""):
    """Returns nested dicts as one, its keys the fields' names."""
    values = {}
    for key, value in config.items():
        if isinstance(value, dict):
            values.update(flat(value, f"{prefix}{key}."))
        else:
            values[prefix + key] = value
    return values


def completed(values):
    """Returns flat values with those that a run from before a field had."""
    values = dict(values)
    for field in FIELDS:
        default = values[field.follows] if field.follows else field.default
        if field.before is not None:
            default = field.before
        values.setdefault(field.name, default)
    return values


def differences(saved, given):
    """Returns the names of fields that make another run of two flat configs."""
    free = {field.name for field in FIELDS if field.free}
    return [
        name
        for name in sorted((saved.keys() | given.keys()) - free)
        if saved.get(name) != given.get(name)
    ]


def table():
    """Returns lines of text on every field."""
    lines = []
    for field in FIELDS:
        default = field.default
        if field.follows:
            default = f"as {field.follows}"
        rule = f"{field.name} must be {field.rule}"
        if field.free:
            rule += "; a run that goes on may change it"
        lines += [
            f"--config.{field.name}={default}",
            f"    {field.meaning}",
            f"    ({rule})",
        ]
    return "\n".join(lines)


def _holds(rule, value):
    try:
        return rule.holds(value)
    except (AttributeError, TypeError):  # A value of another kind.
        return False


def _place(config, name):
    """Returns the section of a field, made if need be, and its key there."""
    *sections, key = name.split(".")
    for section in sections:
        if section not in config:
            config[section] = ml_collections.ConfigDict()
        config = config[section]
    return config, key
