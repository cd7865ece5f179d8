import importlib
import pathlib
import re

import pytest

from configs import default
from sngan_tf.runs import arguments
from sngan_tf.runs import build
from sngan_tf.runs import fields

FOLDER = pathlib.Path(default.__file__).parent
NAMES = sorted(
    path.stem
    for path in FOLDER.glob("*.py")
    if path.stem not in ("default",) and "def get_config" in path.read_text()
)
# Table 1: alpha, beta1, beta2 and n_dis.
TABLE_1 = {
    "A": (0.0001, 0.5, 0.9, 5),
    "B": (0.0001, 0.5, 0.999, 1),
    "C": (0.0002, 0.5, 0.999, 1),
    "D": (0.001, 0.5, 0.9, 5),
    "E": (0.001, 0.5, 0.999, 5),
    "F": (0.001, 0.9, 0.999, 5),
}


def get_config(name, text=""):
    return importlib.import_module(f"configs.{name}").get_config(text)


def setting_of(config):
    return (
        config.optimizer.learning_rate,
        config.optimizer.beta_1,
        config.optimizer.beta_2,
        config.discriminator_steps,
    )


def flat(tree, prefix=""):
    """Returns the dotted names of all fields."""
    names = set()
    for key, value in tree.items():
        if isinstance(value, dict):
            names |= flat(value, f"{prefix}{key}.")
        else:
            names.add(f"{prefix}{key}")
    return names


# Arguments.


@pytest.mark.parametrize("setting", TABLE_1)
def test_settings_are_those_of_table_1(setting):
    config = arguments.apply(fields.defaults(), f"setting={setting}")
    assert setting_of(config) == TABLE_1[setting]


def test_a_setting_changes_nothing_else():
    before = fields.defaults().to_dict()
    after = arguments.apply(fields.defaults(), "setting=F").to_dict()
    changed = {key for key in before if after[key] != before[key]}
    assert changed == {"optimizer", "discriminator_steps"}
    assert after["optimizer"]["decay_from"] == before["optimizer"]["decay_from"]


@pytest.mark.parametrize("text", ["", None, ",", "setting=C,"])
def test_default_is_setting_c(text):
    config = arguments.apply(fields.defaults(), text)
    assert config.to_dict() == fields.defaults().to_dict()
    assert setting_of(config) == TABLE_1["C"]


def test_every_argument_sets_its_field():
    config = arguments.apply(
        fields.defaults(),
        "network=resnet,loss=non_saturating,setting=D,method=spectral_norm,"
        "coefficient=1.4",
    )
    assert config.coefficient == 1.4
    assert config.network.name == "resnet"
    assert config.loss == "non_saturating"
    assert config.method == "spectral_norm"
    assert setting_of(config) == TABLE_1["D"]


@pytest.mark.parametrize(
    ("text", "loss"),
    [
        ("method=wgan_gp", "wasserstein"),
        ("method=wgan_gp_weight_norm", "wasserstein"),
        ("setting=D,method=wgan_gp_spectral_norm", "wasserstein"),
        ("method=wgan_gp,loss=hinge", "hinge"),
        ("loss=hinge,method=wgan_gp", "hinge"),
        ("method=gan_gp", "non_saturating"),
        ("method=spectral_norm", "non_saturating"),
        ("loss=wasserstein,method=weight_norm", "wasserstein"),
    ],
)
def test_wgan_gp_brings_its_loss(text, loss):
    config = fields.defaults()
    config.loss = "non_saturating"
    assert arguments.apply(config, text).loss == loss


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("method=wgan_gp", "A"),
        ("setting=D,method=wgan_gp_weight_norm", "D"),
        ("method=wgan_gp,setting=B", "B"),
        ("method=gan_gp", "C"),
        ("method=spectral_norm", "C"),
    ],
)
def test_wgan_gp_brings_its_setting_to_the_cnn(text, setting):
    config = arguments.apply(fields.defaults(), text)
    assert setting_of(config) == TABLE_1[setting]


def test_wgan_gp_leaves_the_setting_of_a_resnet():
    text = "network=gulrajani_resnet,method=wgan_gp"
    config = arguments.apply(fields.defaults(), text)
    assert setting_of(config) == TABLE_1["C"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "nosuch=1",
            "one of method, coefficient, loss, setting, network.*: nosu",
        ),
        ("setting=D,Method=none", "loss.*Received: Method=none$"),
        ("method", "KEY=VALUE.*Received: method$"),
        ("method=", "KEY=VALUE.*Received: method=$"),
        ("=none", "KEY=VALUE.*Received: =none$"),
        ("method=none, loss=hinge", "Received:  loss=hinge$"),
        ("coefficient=high", "must be a number. Received: coefficient=high$"),
        ("setting=G", r"A, B, C, D, E, F \(Table 1\).*setting=G$"),
        ("setting=d", r"A, B, C, D, E, F \(Table 1\).*setting=d$"),
        ("setting=A,loss=hinge,setting=A", "given once.*: setting=A,loss="),
        ("method=none,method=wgan_gp", "given once.*: method=none,method="),
    ],
)
def test_wrong_argument_is_named(text, message):
    with pytest.raises(ValueError, match=message):
        arguments.apply(fields.defaults(), text)


# Config files.


def test_there_are_configs():
    assert {"digits", "cifar10_cnn"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_config_can_be_run(name):
    build.check(get_config(name))


@pytest.mark.parametrize("name", ["default", *NAMES])
def test_config_has_the_fields_of_a_run(name):
    module = importlib.import_module(f"configs.{name}")
    names = flat(module.get_config().to_dict())
    assert {
        *("seed", "deterministic", "distribution", "precision"),
        *("data.name", "data.image_size", "data.batch_size"),
        *("network.name", "network.width", "method", "loss"),
        *("discriminator_steps", "updates", "optimizer.learning_rate"),
        *("optimizer.beta_1", "optimizer.beta_2"),
        *("log_every", "checkpoint_every", "sample_every", "evaluate_every"),
    } <= names
    # Other files only override.
    assert names == flat(fields.defaults().to_dict())


@pytest.mark.parametrize("name", NAMES)
def test_config_takes_arguments(name):
    config = get_config(name, "method=weight_norm,loss=hinge,setting=D")
    build.check(config)
    assert (config.method, config.loss) == ("weight_norm", "hinge")
    assert setting_of(config) == TABLE_1["D"]
    with pytest.raises(
        ValueError, match="method, coefficient, loss, setting, network"
    ):
        get_config(name, "nosuch=1")


@pytest.mark.parametrize("name", NAMES)
def test_arguments_stay_with_their_call(name):
    before = get_config(name).to_dict()
    get_config(name, "method=weight_norm,loss=hinge,setting=F,network=resnet")
    assert get_config(name).to_dict() == before


@pytest.mark.parametrize("name", ["default", *NAMES])
def test_generator_batch_follows_the_batch_size(name):
    config = importlib.import_module(f"configs.{name}").get_config()
    ratio = config.generator_batch_size / config.data.batch_size
    config.data.batch_size = 10
    assert config.generator_batch_size == 10 * ratio
    config.generator_batch_size = 7
    assert (config.data.batch_size, config.generator_batch_size) == (10, 7)


COMMAND = re.compile(r"configs/(\w+)\.py(?::(\S+))?")
# A row of a table names what it differs in: network=...,method=...
ROW = re.compile(r"^\| [^|]*?((?:network|method|loss)=[\w=,]+)", re.MULTILINE)


@pytest.mark.parametrize("name", NAMES)
def test_commands_of_the_docstring_can_be_run(name):
    text = importlib.import_module(f"configs.{name}").__doc__
    commands = COMMAND.findall(text)
    assert name in [stem for stem, _ in commands] or name == "digits"
    rows = [(name, arguments) for arguments in ROW.findall(text)]
    for stem, given in commands + rows:
        build.check(get_config(stem, given))


# What the paper and its authors' code state.
PAPER = {
    "cifar10_cnn": {
        "data.name": "cifar10",
        "data.image_size": 32,
        "network.name": "cnn",
        "method": "spectral_norm",
        "loss": "non_saturating",
        "updates": 100_000,
    },
    "stl10_cnn": {
        "data.name": "stl10",
        "data.split": "unlabelled",
        "data.image_size": 48,
        "network.name": "cnn",
        "loss": "non_saturating",
        "optimizer.learning_rate": 1e-4,
        "discriminator_steps": 1,
        "updates": 100_000,
    },
    "cifar10_resnet": {
        "data.name": "cifar10",
        "data.image_size": 32,
        "network.name": "resnet",
        "loss": "hinge",
        "discriminator_steps": 5,
        "optimizer.learning_rate": 2e-4,
        "optimizer.beta_1": 0.0,
        "optimizer.beta_2": 0.9,
        "generator_batch_size": 128,
    },
    "stl10_resnet": {
        "data.name": "stl10",
        "data.split": "unlabelled",
        "data.image_size": 48,
        "network.name": "resnet",
        "loss": "hinge",
        "discriminator_steps": 5,
    },
    "imagenet128_resnet": {
        "data.name": "imagenet2012",
        "data.split": "train",
        "data.image_size": 128,
        "data.min_side": 256,
        # On four GPUs, 16 real and 32 generated pictures each.
        "data.batch_size": 64,
        "generator_batch_size": 128,
        "network.synchronized_batch_norm": False,
        "loss": "hinge",
        "discriminator_steps": 5,
        "optimizer.beta_1": 0.0,
        "optimizer.beta_2": 0.9,
        "updates": 450_000,
        "optimizer.decay_from": 400_000,
    },
}


@pytest.mark.parametrize("name", PAPER)
def test_config_has_the_published_settings(name):
    config = get_config(name)
    for field, value in PAPER[name].items():
        found = config
        for key in field.split("."):
            found = found[key]
        assert (field, found) == (field, value)
