import json
import shutil

import numpy as np
import pytest

import sngan_tf
from sngan_tf.errors import UserError
from sngan_tf.modes import train as train_lib
from sngan_tf.runs import build
from sngan_tf.runs import checkpoint
from sngan_tf.runs import fields
from sngan_tf.runs import loading
from sngan_tf.runs import workdir as workdir_lib

STEP = 6


@pytest.fixture
def source_config(tiny_config):
    tiny_config.data.channels = 1
    tiny_config.data.num_classes = 10
    return tiny_config


@pytest.fixture
def config(source_config):
    """That of a run that starts from another."""
    config = source_config.copy_and_resolve_references()
    config.start_from = "set by `save_run`"
    return config


@pytest.fixture
def save_run(config, source_config, tmp_path):
    """Returns a function that saves a run of random values: its GAN."""

    def save(which="checkpoints", **values):
        source_config.update_from_flattened_dict(values)
        run = workdir_lib.Workdir(tmp_path / "source")
        run.prepare(source_config)
        config.start_from = str(run.path)
        gan = build.gan(source_config)
        random = np.random.default_rng(0)
        for weight in gan.weights + slots(gan):
            if weight.dtype == "float32":
                weight.assign(random.uniform(0.5, 1.0, weight.shape))
        gan.generator_optimizer.iterations.assign(STEP)
        gan.discriminator_optimizer.iterations.assign(STEP)
        gan.step.assign(STEP)
        checkpoint.Checkpoints(gan, getattr(run, which), keep=1).save(STEP)
        return gan

    return save


@pytest.fixture
def empty_run(source_config, config, tmp_path):
    """Returns the workdir of one to start from that has a config alone."""
    run = workdir_lib.Workdir(tmp_path / "source")
    run.prepare(source_config)
    config.start_from = str(run.path)
    return run


def add_checkpoint(run):
    run.checkpoints.mkdir()
    (run.checkpoints / f"step-{STEP}.index").touch()


def slots(gan):
    """Returns what the optimizers have counted and averaged."""
    optimizers = gan.generator_optimizer, gan.discriminator_optimizer
    variables = [v for optimizer in optimizers for v in optimizer.variables]
    return [v for v in variables if "learning_rate" not in v.path]


def assert_equal(variables, expected):
    for a, b in zip(variables, expected, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=a.path)


# In Python.


@pytest.mark.parametrize("which", ["last", "best"])
def test_loaded_run_makes_its_pictures(save_run, config, which, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    expected = save_run(
        "best" if which == "best" else "checkpoints",
        **{"distribution": "multi_worker", "average_decay": 0.9},
    )
    # The best alone is no run to go on with; it is one to load.
    gan = sngan_tf.load_run(config.start_from, which)
    assert_equal(gan.weights, expected.weights)
    assert_equal(slots(gan), slots(expected))
    np.testing.assert_array_equal(
        gan.sampler.many(3, 5), expected.sampler.many(3, 5)
    )


def test_loaded_run_is_one_line_where_there_is_none(save_run, config, tmp_path):
    save_run()
    with pytest.raises(UserError, match="one of last, best.*checkpoint=first$"):
        loading.load_run(config.start_from, "first")
    with pytest.raises(UserError, match="no checkpoint.*best; train first: "):
        loading.load_run(config.start_from, "best")
    with pytest.raises(UserError, match="none/config.json is missing"):
        loading.load_run(tmp_path / "none")


def test_run_from_before_a_field_is_loaded_with_its_default(save_run, config):
    expected = save_run()
    run = workdir_lib.Workdir(config.start_from)
    saved = run.saved_config()
    del saved["data"]["min_side"], saved["start_from"]
    run.config.write_text(json.dumps(saved))
    assert run.own_config().data.min_side == 0
    assert fields.flat(run.own_config().to_dict()).keys() == {
        field.name for field in fields.FIELDS
    }
    assert_equal(loading.load_run(run.path).weights, expected.weights)


# Where another run starts.


@pytest.mark.slow
def test_two_replicas_start_as_one(save_run, config, two_replicas):
    source = save_run()
    config.start_with, config.updates = "all", STEP + 1
    with two_replicas.scope():
        gan = build.gan(config)
        assert loading.start(gan, config) == STEP
    for variable, expected in zip(
        gan.weights + slots(gan), source.weights + slots(source), strict=True
    ):
        for value in two_replicas.experimental_local_results(variable.value):
            np.testing.assert_array_equal(value, expected)


@pytest.mark.parametrize("average_decay", [0.0, 0.9])
def test_networks_alone_start_a_new_training(save_run, config, average_decay):
    """The average too, or as the generator where the run has none."""
    source = save_run(average_decay=average_decay)
    config.average_decay = 0.5
    config.optimizer.decay_from = 2
    config.discriminator_steps = 3
    config.precision = "mixed_bfloat16"
    gan = build.gan(config)
    fresh = [variable.numpy() for variable in slots(gan)]
    assert loading.start(gan, config) == 0
    assert_equal(gan.generator.weights, source.generator.weights)
    assert_equal(gan.discriminator.weights, source.discriminator.weights)
    assert any(w.name == "u" for w in gan.discriminator.weights)
    assert_equal(
        gan.average_generator.weights, source.sampling_generator.weights
    )
    assert int(gan.step.numpy()) == 0
    assert_equal(slots(gan), fresh)


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
@pytest.mark.parametrize("decay_from", [-1, 2])
def test_all_goes_on_with_another_rate(save_run, config, decay_from, precision):
    source = save_run(precision=precision)
    config.precision = precision
    config.start_with = "all"
    config.updates = STEP + 1
    config.optimizer.learning_rate = 0.25
    config.optimizer.decay_from = decay_from
    gan = build.gan(config)
    assert loading.start(gan, config) == STEP
    assert_equal(gan.weights, source.weights)
    assert_equal(slots(gan), slots(source))
    assert int(gan.step.numpy()) == STEP
    rate = 0.25 if decay_from < 0 else 0.25 / 5
    for optimizer in (gan.generator_optimizer, gan.discriminator_optimizer):
        assert float(optimizer.learning_rate.numpy()) == pytest.approx(rate)


@pytest.mark.parametrize(
    ("start_with", "field", "value"),
    [
        ("networks", "data.image_size", 16),
        ("networks", "data.channels", 3),
        ("networks", "network.name", "resnet"),
        ("networks", "network.width", 0.5),
        ("networks", "network.discriminator_width", 1.5),
        ("networks", "network.latent_dim", 3),
        ("networks", "method", "none"),
        ("all", "precision", "mixed_float16"),
        ("all", "discriminator_steps", 2),
    ],
)
def test_other_networks_are_refused_by_the_field_that_differs(
    empty_run, config, start_with, field, value
):
    add_checkpoint(empty_run)
    config.start_with, config.updates = start_with, STEP + 1
    loading.check_start(config)
    config.update_from_flattened_dict({field: value})
    message = rf"^`{field}` must be as in.*: {field}={value}, .* in .*source$"
    with pytest.raises(UserError, match=message):
        loading.check_start(config)


def test_classes_are_compared_where_they_are_used(
    source_config, empty_run, config
):
    add_checkpoint(empty_run)
    config.data.num_classes = 3
    loading.check_start(config)
    config.data.channels = config.data.num_classes = 0  # Not known yet.
    for each in (config, source_config):
        each.network.name = "resnet_projection"
    empty_run.prepare(source_config)
    loading.check_start(config)
    config.data.num_classes = 3
    with pytest.raises(UserError, match="data.num_classes=3, 10 in"):
        loading.check_start(config)


def test_run_without_more_updates_to_do_is_refused(empty_run, config):
    add_checkpoint(empty_run)
    config.updates = STEP
    loading.check_start(config)
    config.start_with = "all"
    with pytest.raises(UserError, match=f"more than.*updates=6, {STEP} in"):
        loading.check_start(config)


def test_run_without_a_checkpoint_is_refused(empty_run, config):
    with pytest.raises(UserError, match="with a checkpoint.*=.*source$"):
        loading.check_start(config)


@pytest.mark.slow
def test_run_that_starts_from_another_goes_on_by_itself(
    save_run, config, tmp_path
):
    source = save_run()
    run = workdir_lib.Workdir(tmp_path / "run")
    config.start_with, config.updates = "all", STEP + 1
    config.optimizer.learning_rate = 1e-12
    gan = train_lib.train(config, run)
    assert run.saved_config()["start_from"] == config.start_from
    assert int(gan.step.numpy()) == STEP + 1
    for a, b in zip(
        gan.discriminator.trainable_variables,
        source.discriminator.trainable_variables,
    ):
        np.testing.assert_allclose(a, b, atol=1e-6)
    shutil.rmtree(config.start_from)
    config.updates = STEP + 2
    assert int(train_lib.train(config, run).step.numpy()) == STEP + 2
    with pytest.raises(UserError, match="`start_from` must be the workdir"):
        train_lib.train(config, workdir_lib.Workdir(tmp_path / "another"))


def test_loaded_run_knows_the_names_of_its_classes(save_run, config):
    names = [f"class {i}" for i in range(10)]
    save_run(**{"data.class_names": tuple(names)})
    assert loading.load_run(config.start_from).class_names == ()
    save_run(**{"network.name": "resnet_projection", "data.image_size": 32})
    assert loading.load_run(config.start_from).class_names == tuple(names)


def test_run_of_several_hosts_is_sampled_on_one(save_run, config):
    expected = save_run(distribution="multi_worker")
    run = workdir_lib.Workdir(config.start_from)
    restored = build.restored_gan(run.own_config(), run)
    assert_equal(restored.weights, expected.weights)


@pytest.mark.parametrize("start_from", ["", "run"])
def test_average_of_another_run_is_not_warmed_up(source_config, start_from):
    source_config.start_from = start_from
    assert build.gan(source_config).average_warmup == (not start_from)
