"""What may follow a config's name: `configs/NAME.py:method=...,setting=D`.

Settings are those of Table 1. Unless others are named, the methods `wgan_gp...`
bring the Wasserstein loss, and on the CNN setting A, of the authors of WGAN-GP.
"""

# Adam's alpha, beta1 and beta2, and n_dis, of the ResNets (App. B.2).
_RESNET = (2e-4, 0.0, 0.9, 5)

# Letter: Adam's alpha, beta1 and beta2, and n_dis (Table 1).
SETTINGS = {
    "A": (1e-4, 0.5, 0.9, 5),
    "B": (1e-4, 0.5, 0.999, 1),
    "C": (2e-4, 0.5, 0.999, 1),
    "D": (1e-3, 0.5, 0.9, 5),
    "E": (1e-3, 0.5, 0.999, 5),
    "F": (1e-3, 0.9, 0.999, 5),
}


def apply(config, text):
    """Returns the config with `key=value,key=value` applied.

    Args:
        config: A config that has every field.
        text: Comma-separated arguments, of the keys `method`, `coefficient`
            of the method, `loss`, `setting` and `network`; None or "" for
            none.

    Raises:
        ValueError: On an unknown key or setting, listing the known ones, and
            on a coefficient that is no number.
    """
    arguments = _parse(text or "")
    if arguments.get("method", "").startswith("wgan_gp"):
        config.loss = "wasserstein"
        if arguments.get("network", config.network.name) == "cnn":
            _setting(config, "A")
    for key, value in arguments.items():
        _KNOWN[key](config, value)
    return config


def setting(letter):
    """Returns the fields of a setting of Table 1, `{name: value}`."""
    names = ("learning_rate", "beta_1", "beta_2")
    *adam, steps = SETTINGS[letter]
    return {
        **{f"optimizer.{name}": value for name, value in zip(names, adam)},
        "discriminator_steps": steps,
    }


def set_resnet_training(config):
    """Sets what ResNets are trained with: App. B.2, and the authors' batches.

    The paper says nothing of a decay; see configs/cifar10_resnet.py.
    """
    _set_training(config, *_RESNET)
    config.generator_batch_size = 2 * config.data.get_ref("batch_size")
    config.optimizer.decay_from = 0


def _parse(text):
    arguments = {}
    for argument in filter(None, text.split(",")):
        key, equals, value = argument.partition("=")
        if key not in _KNOWN or not equals or not value:
            raise ValueError(
                "An argument of a config must be KEY=VALUE, KEY one of "
                f"{', '.join(_KNOWN)}. Received: {argument}"
            )
        if key in arguments:
            raise ValueError(
                f"An argument must be given once. Received: {text}"
            )
        arguments[key] = value
    return arguments


def _method(config, value):
    config.method = value


def _coefficient(config, value):
    try:
        config.coefficient = float(value)
    except ValueError as error:
        raise ValueError(
            f"`coefficient` must be a number. Received: coefficient={value}"
        ) from error


def _loss(config, value):
    config.loss = value


def _setting(config, value):
    if value not in SETTINGS:
        raise ValueError(
            f"`setting` must be one of {', '.join(SETTINGS)} (Table 1). "
            f"Received: setting={value}"
        )
    _set_training(config, *SETTINGS[value])


def _set_training(config, alpha, beta_1, beta_2, discriminator_steps):
    config.optimizer.learning_rate = alpha
    config.optimizer.beta_1 = beta_1
    config.optimizer.beta_2 = beta_2
    config.discriminator_steps = discriminator_steps


def _network(config, value):
    config.network.name = value


_KNOWN = {
    "method": _method,
    "coefficient": _coefficient,
    "loss": _loss,
    "setting": _setting,
    "network": _network,
}
