import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from sngan_tf.errors import UserError
from sngan_tf.runs import build
from sngan_tf.runs import scoring


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("data.image_size", 0, "`data.image_size` must be positive"),
        ("data.image_size", 20, "divisible by 8"),
        ("data.batch_size", -1, "data.batch_size=-1"),
        ("data.shift", -1, "`data.shift` must be 0 or more"),
        ("data.channels", 2, "0, 1 or 3"),
        ("data.min_side", -1, "`data.min_side` must be 0 or more"),
        ("data.num_classes", -1, "data.num_classes=-1"),
        ("network.name", "resnet", "resnet.*32, 48, 64, 128.*8, 8, 1"),
        ("network.discriminator_width", 0.0, "discriminator_width=0.0"),
        ("coefficient", -1.0, "coefficient=-1.0"),
        ("auxiliary.generator_weight", -1.0, "generator_weight=-1.0"),
        ("generator_batch_size", 0, "generator_batch_size=0"),
        ("optimizer.decay_from", -2, "`optimizer.decay_from` must be -1"),
        ("optimizer.decay_from", 4, "less than `updates`.*decay_from=4"),
        ("sampling.label", -2, "`sampling.label` must be -1 or more"),
        ("method", "batch_norm_", "one of none, weight_clipping"),
        ("network.name", "vgg", "must be one of cnn"),
        ("network.width", 0.0, "`network.width` must be positive"),
        ("network.latent_dim", 0, "network.latent_dim=0"),
        ("method", "magic", "method=magic"),
        ("loss", "huber", "loss=huber"),
        ("discriminator_steps", 0, "discriminator_steps=0"),
        ("updates", 0, "updates=0"),
        ("average_decay", 1.0, r"`average_decay` must be in \[0, 1\)"),
        ("optimizer.learning_rate", -1e-3, "learning_rate=-0.001"),
        ("optimizer.learning_rate", float("nan"), "learning_rate=nan"),
        ("optimizer.learning_rate", float("inf"), "learning_rate=inf"),
        ("optimizer.beta_1", -0.1, "beta_1=-0.1"),
        ("optimizer.beta_2", 1.0, "beta_2=1.0"),
        ("log_every", 0, "log_every=0"),
        ("checkpoint_every", -1, "checkpoint_every=-1"),
        ("sample_every", -1, "sample_every=-1"),
        ("evaluate_every", -1, "evaluate_every=-1"),
        ("keep_checkpoints", 0, "keep_checkpoints=0"),
        ("sampling.count", 0, "sampling.count=0"),
        ("evaluation.samples", 3, "4 or more.*evaluation.samples=3"),
        (
            "evaluation.protocol",
            "fid",
            "`evaluation.protocol` must be one of quick, paper, 50k. "
            "Received: evaluation.protocol=fid$",
        ),
        (
            "evaluation.features",
            "vgg",
            "`evaluation.features` must be one of classifier, inception. "
            "Received: evaluation.features=vgg$",
        ),
        (
            "evaluation.best",
            "recall",
            "`evaluation.best` must be one of score, frechet_distance, "
            "kernel_distance. Received: evaluation.best=recall$",
        ),
        (
            "checkpoint",
            "first",
            "`checkpoint` must be one of last, best. Received: "
            "checkpoint=first$",
        ),
        ("precision", "float8", "one of float32, mixed_bfloat16"),
        ("distribution", "cloud", "distribution=cloud"),
        ("seed", -1, "seed=-1"),
        ("sampling.seed", 2**31, r"in \[0, 2\^31\)"),
    ],
)
def test_value_out_of_range_is_named(tiny_config, field, value, message):
    with tiny_config.unlocked():
        tiny_config.update_from_flattened_dict({field: value})
    with pytest.raises(UserError, match=message):
        build.check(tiny_config)


@pytest.mark.parametrize(
    "field",
    ["updates", "log_every", "checkpoint_every", "sample_every"],
)
def test_executions_must_end_where_something_is_done(tiny_config, field):
    tiny_config.steps_per_execution = 2
    build.check(tiny_config)
    tiny_config[field] = 3
    with pytest.raises(
        UserError,
        match=f"`{field}` must be a multiple of `steps_per_execution`. "
        f"Received: {field}=3, steps_per_execution=2$",
    ):
        build.check(tiny_config)


def test_executions_must_end_where_singular_values_are_edited(tiny_config):
    tiny_config.method = "sr_gan_static"
    build.check(tiny_config)
    tiny_config.steps_per_execution = 2
    message = "`steps_per_execution` must divide.*, 5. Received: .*execution=2$"
    with pytest.raises(UserError, match=message):
        build.check(tiny_config)


@pytest.mark.parametrize(
    ("method", "loss"),
    [("none", "wasserstein"), ("wgan_gp", "hinge"), ("gan_gp", "wasserstein")],
)
def test_loss_that_makes_no_sense_with_the_method(tiny_config, method, loss):
    tiny_config.method, tiny_config.loss = method, loss
    with pytest.raises(UserError, match=f"with the method {method}: .*{loss}"):
        build.check(tiny_config)


def test_coefficient_of_a_method_without_one(tiny_config):
    tiny_config.method, tiny_config.coefficient = "weight_norm", 0.1
    with pytest.raises(UserError, match="weight_norm has no coefficient"):
        build.check(tiny_config)


def test_label_to_sample_needs_a_conditional_network(tiny_config):
    tiny_config.data.channels = 1
    tiny_config.sampling.label = 0
    with pytest.raises(UserError, match="must be -1.*sampling.label=0"):
        build.gan(tiny_config)


def conditional(config, label, class_names=("ant", "bee", "cat")):
    config.network.name = "resnet_projection"
    config.data.channels, config.data.num_classes = 1, 3
    config.data.class_names = class_names
    config.sampling.label = label
    return config


@pytest.mark.parametrize(
    ("label", "number"), [("ant", 0), ("cat", 2), (1, 1), (-1, -1)]
)
def test_class_to_sample_goes_by_name_or_number(tiny_config, label, number):
    build.gan(conditional(tiny_config, label))
    assert tiny_config.sampling.label == number


@pytest.mark.parametrize(
    ("label", "class_names", "rule"),
    [
        (3, (), "less than 3 with"),
        ("cat", (), "less than 3 with"),
        (
            "Cat",
            ("ant", "bee", "cat"),
            "3 or .* a class, such as cat, ant, with",
        ),
        ("x", ("ant", "bee", "cat"), "3 or .*, such as ant, bee, cat, with"),
    ],
)
def test_class_to_sample_that_is_none_is_refused(
    tiny_config, label, class_names, rule
):
    message = f"`sampling.label` must be .*{rule}.*Received: .*label={label}$"
    with pytest.raises(UserError, match=message):
        build.gan(conditional(tiny_config, label, class_names))


def test_class_names_are_those_of_the_data(tiny_config):
    pictures = build.pictures(tiny_config)
    build.resolve(tiny_config, pictures)
    assert tiny_config.data.class_names == tuple("0123456789")
    build.resolve(tiny_config, pictures)
    tiny_config.data.class_names = ("0", "1")
    message = "`data.class_names` must be those.*Received: 0, 1, where digits"
    with pytest.raises(UserError, match=message):
        build.resolve(tiny_config, pictures)


def test_coefficient_replaces_that_of_the_method(tiny_config):
    tiny_config.data.channels = 1
    tiny_config.method, tiny_config.loss = "wgan_gp", "wasserstein"
    assert build.gan(tiny_config).gradient_penalty == 10.0
    tiny_config.coefficient = 2.5
    assert build.gan(tiny_config).gradient_penalty == 2.5


def test_rates_decay_by_generator_updates(tiny_config):
    tiny_config.data.channels = 1
    tiny_config.optimizer.decay_from = 2
    tiny_config.updates = 4
    tiny_config.discriminator_steps = 3
    gan = build.gan(tiny_config)
    for update, share in enumerate([1.0, 1.0, 1.0, 0.5, 0.0]):
        for optimizer, step in (
            (gan.generator_optimizer, update),
            (gan.discriminator_optimizer, 3 * update),
        ):
            optimizer.iterations.assign(step)
            rate = float(optimizer.learning_rate.numpy())
            assert rate == pytest.approx(share * 1e-3)


def test_good_config_passes(tiny_config):
    build.check(tiny_config)


def test_gan_has_the_sizes_and_optimizers_of_the_config(tiny_config):
    tiny_config.data.channels = 3
    gan = build.gan(tiny_config)
    assert gan.generator.input_shape == (None, 4)
    assert gan.generator.output_shape == (None, 8, 8, 3)
    assert gan.augmentation.pixels == 1
    assert (gan.average_decay, gan.average_warmup) == (0.999, True)
    for optimizer in (gan.generator_optimizer, gan.discriminator_optimizer):
        assert float(optimizer.learning_rate.numpy()) == pytest.approx(1e-3)
        assert (optimizer.beta_1, optimizer.beta_2) == (0.0, 0.9)


def test_warmup_of_the_average_can_be_off(tiny_config):
    tiny_config.data.channels = 1
    tiny_config.average_warmup = False
    assert build.gan(tiny_config).average_warmup is False


def test_mixed_precision_keeps_kernels_and_losses_float32(
    tiny_config, real_networks
):
    tiny_config.precision = "mixed_bfloat16"
    tiny_config.data.channels = 1
    gan = build.gan(tiny_config)
    assert keras.config.dtype_policy().name == "float32"
    images = keras.random.normal((8, 8, 8, 1))
    losses = gan._discriminator_step(images, None, draw=0)
    assert {loss.dtype for loss in losses.values()} == {tf.float32}
    layer = gan.discriminator.get_layer("normalized_conv_1")
    assert layer.layer.compute_dtype == "bfloat16"
    assert {w.dtype for w in gan.discriminator.weights} == {"float32"}


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("evaluation.protocol", ("quick", "paper", "50k")),
        ("evaluation.features", ("classifier", "inception")),
        ("evaluation.best", ("score", "frechet_distance", "kernel_distance")),
        ("evaluation.samples", (4,)),
        ("checkpoint", ("last", "best")),
    ],
)
def test_every_choice_passes(tiny_config, field, values):
    for value in values:
        tiny_config.update_from_flattened_dict({field: value})
        build.check(tiny_config)


def test_pictures_are_treated_as_the_config_says(tiny_config, tmp_path):
    for folder, level in (("train", 10), ("test", 20)):
        (tmp_path / folder / "a" / "b").mkdir(parents=True)
        picture = Image.new("LA", (8, 8), (level, 0))
        picture.save(tmp_path / folder / "a" / "b" / "1.png")
        Image.new("L", (8, 8), level).save(tmp_path / folder / "a" / "2.png")
    tiny_config.data.name = f"folder:{tmp_path / 'train'}"
    tiny_config.evaluation.reference = f"folder:{tmp_path / 'test'}"
    tiny_config.data.recursive = True
    for background, level in (("white", 255), ("black", 0)):
        tiny_config.data.background = background
        pictures = build.pictures(tiny_config)
        held_out = scoring._held_out(tiny_config, pictures)
        np.testing.assert_array_equal(pictures.images[:, 4, 4, 0], [10, level])
        np.testing.assert_array_equal(held_out.images[:, 4, 4, 0], [20, level])
    tiny_config.evaluation.reference = "digits"
    assert len(scoring._held_out(tiny_config, pictures)) == 1797


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "as TensorFlow decides (TF_ENABLE_ONEDNN_OPTS is not set)"),
        ("1", "on (TF_ENABLE_ONEDNN_OPTS=1)"),
        ("False", "off (TF_ENABLE_ONEDNN_OPTS=False)"),
    ],
)
def test_what_is_said_of_onednn(monkeypatch, value, said):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", value or "")
    if value is None:
        monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS")
    assert build.onednn() == said


def test_threads_that_come_too_late_are_said(tiny_config, caplog):
    tf.zeros(())
    tiny_config.operation_threads = 3
    build.set_up(tiny_config)
    assert "`operation_threads` has no effect" in caplog.text
    assert tf.config.threading.get_intra_op_parallelism_threads() != 3
