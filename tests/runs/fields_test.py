import json
import sys

import pytest
from absl import flags
from ml_collections import config_flags

from sngan_tf.errors import UserError
from sngan_tf.runs import fields

BY_NAME = {field.name: field for field in fields.FIELDS}


def place_of(config, field):
    """Returns the section that holds a field, and its key there."""
    *sections, key = field.name.split(".")
    for name in sections:
        config = config[name]
    return config, key


def test_defaults_are_those_of_the_table():
    values = fields.flat(fields.defaults().to_dict())
    assert values.keys() == BY_NAME.keys()
    assert len(BY_NAME) == len(fields.FIELDS)
    for name, field in BY_NAME.items():
        expected = values[field.follows] if field.follows else field.default
        assert values[name] == expected
        assert type(values[name]) is type(expected)


def test_defaults_keep_their_own_rules():
    fields.check(fields.defaults())


@pytest.mark.parametrize("field", fields.FIELDS, ids=lambda field: field.name)
def test_every_rule_refuses_something_and_says_so(field):
    refused = []
    for value in (object(), "\0", float("nan"), -2):  # None is right in all.
        config = fields.defaults().copy_and_resolve_references()
        section, key = place_of(config, field)
        with section.ignore_type():
            section[key] = value
        try:
            fields.check(config)
        except UserError as error:
            refused.append(str(error))
    rule = f"`{field.name}` must be {field.rule}. Received: {field.name}="
    assert refused
    assert all(message.startswith(rule) for message in refused)


@pytest.mark.parametrize("field", fields.FIELDS, ids=lambda field: field.name)
def test_missing_field_is_named(field):
    config = fields.defaults().copy_and_resolve_references()
    section, key = place_of(config, field)
    with config.unlocked():
        del section[key]
    with pytest.raises(UserError, match=f"lacks the field `{field.name}`$"):
        fields.check(config)


def test_followers_follow_until_they_are_set():
    config = fields.defaults()
    config.data.batch_size = 10
    assert config.generator_batch_size == 10
    config.generator_batch_size = 7
    config.data.batch_size = 3
    assert config.generator_batch_size == 7


def test_table_has_every_field_with_default_meaning_and_rule():
    text = fields.table()
    for name, field in BY_NAME.items():
        default = f"as {field.follows}" if field.follows else field.default
        start = text.index(f"--config.{name}={default}\n")
        about = text[start:].split("\n--config.")[0]
        assert field.meaning in about
        assert f"must be {field.rule}" in about
        assert ("may change it" in about) == field.free
        assert field.meaning.endswith(".")


def test_choices_are_those_of_the_code():
    text = fields.table()
    for names in (
        "cnn, resnet, resnet_concat, resnet_projection, gulrajani_resnet",
        "none, weight_clipping, gan_gp, wgan_gp, batch_norm, layer_norm",
        "hinge, non_saturating, wasserstein",
        "quick, paper, 50k",
    ):
        assert f"must be one of {names}" in text


def saved(**changes):
    """Returns flat values as `config.json` holds them."""
    values = fields.flat(json.loads(json.dumps(fields.defaults().to_dict())))
    return {**values, **changes}


def test_rows_for_studies_are_taken_and_not_listed():
    config = fields.defaults()
    config.method = "keras_spectral_norm"
    fields.check(config)
    assert "keras_spectral_norm" not in fields.table()


def test_completed_adds_defaults_alone():
    values = saved(**{"data.batch_size": 8, "generator_batch_size": 8})
    known = {
        name: value
        for name, value in values.items()
        if name not in ("coefficient", "evaluation.best", "data.min_side")
    }
    assert fields.completed(known) == values
    del known["generator_batch_size"]
    assert fields.completed(known) == values
    assert "coefficient" not in known


def test_completed_has_what_a_run_did_before_a_field():
    known = saved()
    del known["average_warmup"]
    assert fields.completed(known)["average_warmup"] is False


def test_differences_are_of_fields_that_make_another_run():
    one = saved()
    other = saved(
        updates=3, seed=5, checkpoint="best", **{"network.width": 0.5}
    )
    assert fields.differences(one, other) == ["network.width", "seed"]
    other["own"] = 1
    assert fields.differences(one, other) == ["network.width", "own", "seed"]


FREE = {
    "extensions",
    "updates",
    "deterministic",
    "distribution",
    "operation_threads",
    "steps_per_execution",
    "data.directory",
    "data.streaming",
    "data.on_bad_image",
    "log_every",
    "checkpoint_every",
    "keep_checkpoints",
    "keep_checkpoints_hours",
    "sample_every",
    "evaluate_every",
    "checkpoint",
    "pretrained",
}


def test_free_fields_change_no_value_of_a_run():
    free = {name for name, field in BY_NAME.items() if field.free}
    sections = ("sampling.", "evaluation.", "export.", "spectra.")
    assert {n for n in free if not n.startswith(sections)} == FREE
    assert {n for n in BY_NAME if n.startswith(sections)} <= free


@pytest.mark.parametrize(
    ("argument", "label"), [("3", 3), ("-1", -1), ("big cat", "big cat")]
)
def test_class_to_sample_may_be_a_number_or_a_name(
    argument, label, monkeypatch
):
    arguments = ["main.py", f"--config.sampling.label={argument}"]
    monkeypatch.setattr(sys, "argv", arguments)
    values = flags.FlagValues()
    config_flags.DEFINE_config_dict(
        "config", fields.defaults(), flag_values=values
    )
    values(arguments)
    assert values.config.sampling.label == label
    fields.check(values.config)


def test_config_comes_back_from_json():
    config = fields.defaults()
    config.data.class_names = ("cat", "dog")
    config.generator_batch_size = 9
    config.average_decay = 0.5
    saved = json.loads(json.dumps(config.to_dict()))
    loaded = fields.config_of(fields.flat(saved))
    assert loaded.to_dict() == config.to_dict()
    # As of a config file, its fields take other values by their kinds.
    loaded.sampling.label = "cat"
    loaded.average_decay = 0
    assert type(loaded.average_decay) is float
    with pytest.raises(TypeError):
        loaded.updates = "many"
