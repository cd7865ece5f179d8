"""What Keras's loops ask of a GAN, and what they may be given."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import sngan_tf.gan
from sngan_tf import images as images_lib
from sngan_tf.gan import GAN
from sngan_tf.gan import objectives
from sngan_tf.layers import SpectralNormalization

SHAPE, LATENTS, CLASSES = (4, 4, 1), 3, 5


def networks(conditional=False):
    inputs = x = keras.Input((LATENTS,))
    labels = keras.Input((), dtype="int32")
    if conditional:
        inputs = [x, labels]
        x = layers.Concatenate()([x, layers.Embedding(CLASSES, 2)(labels)])
    x = layers.Dense(16, activation="tanh")(x)
    generator = keras.Model(inputs, layers.Reshape(SHAPE)(x))
    inputs = y = keras.Input(SHAPE)
    y = layers.Flatten()(y)
    if conditional:
        inputs = [inputs, labels]
        y = layers.Concatenate()([y, layers.Embedding(CLASSES, 2)(labels)])
    y = layers.Dropout(0.5)(layers.Dense(4)(y))
    y = SpectralNormalization(layers.Dense(1))(y)
    return generator, keras.Model(inputs, y)


def build(conditional=False, compiled=None, **kwargs):
    num_classes = CLASSES if conditional else None
    gan = GAN(*networks(conditional), num_classes=num_classes, **kwargs)
    gan.compile("sgd", "sgd", **(compiled or {}))
    return gan


def real_images(count, shape=SHAPE):
    random = np.random.default_rng(0)
    return random.uniform(-1, 1, (count, *shape)).astype("float32")


def labels(count, dtype="int32"):
    return (np.arange(count) % CLASSES).astype(dtype)


def state(gan):
    variables = [
        *gan.variables,
        *gan.generator_optimizer.variables,
        *gan.discriminator_optimizer.variables,
    ]
    means = {id(v) for metric in gan.metrics for v in metric.variables}
    return [
        keras.ops.convert_to_numpy(v) for v in variables if id(v) not in means
    ]


def assert_equal(before, after):
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)


# Optimizers.


def test_optimizers_may_be_named_and_are_two():
    gan = GAN(*networks())
    gan.compile("adam", "adam")
    optimizers = gan.generator_optimizer, gan.discriminator_optimizer
    assert [type(each).__name__ for each in optimizers] == ["Adam", "Adam"]
    assert optimizers[0] is not optimizers[1]
    shared = keras.optimizers.SGD()
    with pytest.raises(ValueError, match="must be two.*the same SGD"):
        gan.compile(shared, shared)


@pytest.mark.parametrize(
    ("policy", "asked", "scaled"),
    [
        ("mixed_float16", True, True),
        ("mixed_float16", False, False),
        ("mixed_bfloat16", True, False),
    ],
)
def test_float16_scales_losses(policy, asked, scaled):
    keras.config.set_dtype_policy(policy)
    try:
        pair = networks()
    finally:
        keras.config.set_dtype_policy("float32")
    gan = GAN(*pair)
    gan.compile("sgd", "sgd", auto_scale_loss=asked)
    kind = keras.optimizers.LossScaleOptimizer
    for optimizer in (gan.generator_optimizer, gan.discriminator_optimizer):
        assert isinstance(optimizer, kind) == scaled
    # One that scales already is left as it is.
    gan.compile(gan.generator_optimizer, gan.discriminator_optimizer)
    for optimizer in (gan.generator_optimizer, gan.discriminator_optimizer):
        inner = getattr(optimizer, "inner_optimizer", None)
        assert not isinstance(inner, kind)


def test_jit_compile_is_refused_on_replicas(two_replicas):
    with two_replicas.scope():
        gan = GAN(*networks())
        with pytest.raises(ValueError, match="jit_compile=True, 2 replicas"):
            gan.compile("sgd", "sgd", jit_compile=True)
        gan.compile("sgd", "sgd")
    assert not gan.jit_compile


def test_reloaded_gan_is_compiled_as_it_was(tmp_path):
    gan = build(
        compiled={
            "jit_compile": True,
            "steps_per_execution": 3,
            "auto_scale_loss": False,
        }
    )
    gan.save(tmp_path / "gan.keras")
    loaded = keras.models.load_model(tmp_path / "gan.keras")
    assert loaded.jit_compile is True
    assert loaded.steps_per_execution == 3
    assert loaded.auto_scale_loss is False
    gan.compile("sgd", "sgd", run_eagerly=True)
    gan.save(tmp_path / "gan.keras")
    loaded = keras.models.load_model(tmp_path / "gan.keras")
    assert loaded.run_eagerly is True
    assert loaded.get_compile_config()["jit_compile"] == "auto"


# Held-out images.


def losses_written_out(gan, images, fakes):
    real, fake = gan.discriminator(images), gan.discriminator(fakes)
    hinge = np.maximum(1 - real, 0).mean() + np.maximum(1 + fake, 0).mean()
    return hinge, -np.mean(fake)


@pytest.mark.slow
@pytest.mark.parametrize("conditional", [False, True])
def test_held_out_losses_are_those_of_inference(conditional):
    gan = build(conditional, gradient_penalty=1.0)
    images, classes = real_images(7), labels(7) if conditional else None
    before = state(gan)
    logs = gan.evaluate(
        images, classes, batch_size=4, return_dict=True, verbose=0
    )
    assert_equal(before, state(gan))
    assert logs.keys() == {"d_loss", "g_loss", "d_penalty"}
    assert np.isfinite([*logs.values()]).all()
    if conditional:
        return
    expected = []
    for i, batch in enumerate((images[:4], images[4:])):
        fakes, _ = gan._fakes(len(batch), -1 - i, training=False)
        expected.append(losses_written_out(gan, batch, fakes))
    assert [logs["d_loss"], logs["g_loss"]] == pytest.approx(
        np.mean(expected, axis=0), rel=1e-5
    )


def test_validation_follows_each_epoch():
    gan = build(True, compiled={"steps_per_execution": 2, "run_eagerly": True})
    history = gan.fit(
        real_images(8),
        labels(8),
        batch_size=2,
        epochs=2,
        verbose=0,
        # Three batches, which two a time don't divide.
        validation_data=(real_images(6), labels(6)),
    ).history
    assert len(history["val_d_loss"]) == 2
    assert np.isfinite([*history.values()]).all()
    assert int(gan.step.value) == 8


@pytest.mark.slow
def test_replicas_evaluate_as_one(two_replicas):
    def evaluate(strategy):
        with strategy.scope():
            keras.utils.set_random_seed(0)
            gan = build()
        return gan.evaluate(real_images(8), batch_size=4, verbose=0)

    one = evaluate(tf.distribute.get_strategy())
    assert evaluate(two_replicas) == pytest.approx(one, rel=1e-5)


# Single batches.


@pytest.mark.slow
def test_single_batches_train_and_test():
    gan = build(True)
    tested = gan.test_on_batch(real_images(4), labels(4), return_dict=True)
    trained = gan.train_on_batch(real_images(4), labels(4), return_dict=True)
    assert tested.keys() == trained.keys() == {"d_loss", "g_loss", "d_penalty"}
    assert np.isfinite([*tested.values(), *trained.values()]).all()
    assert int(gan.step.value) == 1
    assert len(gan.test_on_batch(real_images(4), labels(4))) == 3


@pytest.mark.slow
def test_single_batch_is_an_update_of_fit():
    gans = []
    for _ in range(2):
        keras.utils.set_random_seed(0)
        gans.append(build())
    gans[0].train_on_batch(real_images(4))
    gans[1].fit(real_images(4), batch_size=4, shuffle=False, verbose=0)
    assert_equal(state(gans[0]), state(gans[1]))


# Executions.


@pytest.mark.slow
@pytest.mark.parametrize("per_execution", [1, 2])
def test_no_update_is_made_where_the_data_ends(per_execution):
    gan = build(compiled={"steps_per_execution": per_execution})
    # Of a number that Keras doesn't know.
    dataset = tf.data.Dataset.from_tensor_slices(real_images(10)).batch(2)
    seen = []
    note = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(int(gan.step.value))
    )
    gan.fit(dataset.filter(lambda x: True), verbose=0, callbacks=note)
    assert int(gan.step.value) == 5
    assert seen == ([1, 2, 3, 4, 5] if per_execution == 1 else [2, 4, 5])


@pytest.mark.parametrize("per_execution", [1, 2])
def test_no_batch_is_lost_to_a_look(per_execution):
    batches = iter(real_images(12).reshape(6, 2, *SHAPE))
    spec = tf.TensorSpec((2, *SHAPE))
    once = tf.data.Dataset.from_generator(
        lambda: batches, output_signature=spec
    )
    gan = build(compiled={"steps_per_execution": per_execution})
    gan.fit(once, verbose=0)
    assert int(gan.step.value) == 6


class Looks(keras.callbacks.Callback):
    """Keeps the logs of each execution."""

    def __init__(self, reads_logs):
        super().__init__()
        self.reads_logs, self.logs = reads_logs, []

    def on_train_batch_end(self, batch, logs=None):
        self.logs.append(logs)


@pytest.mark.parametrize("reads_logs", [True, False])
def test_logs_are_read_for_callbacks_that_look_at_them(reads_logs):
    gan = build(compiled={"run_eagerly": True})
    callback = Looks(reads_logs)
    history = gan.fit(
        real_images(8), batch_size=4, verbose=0, callbacks=callback
    ).history
    names = {"d_loss", "g_loss", "d_penalty"}
    assert history.keys() == names
    assert np.isfinite([*history.values()]).all()
    for logs in callback.logs:
        assert {*logs} == (names if reads_logs else set())
    assert len(callback.logs) == 2
    given = []
    other = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: given.append({**logs})
    )
    gan.fit(real_images(4), verbose=0, callbacks=[Looks(False), other])
    assert {type(loss) for loss in given[0].values()} == {float}


def test_arguments_of_fit_stand_as_keras_has_them():
    gan = build(compiled={"run_eagerly": True})
    history = gan.fit(real_images(8), None, 4, 2, 0)
    assert len(history.epoch) == 2
    assert int(gan.step.value) == 4


def test_uneven_shares_of_replicas_are_refused(two_replicas):
    with two_replicas.scope():
        gan = build()
    message = "divisible by the number of replicas. Received: 1 and 0 images"
    with pytest.raises(ValueError, match=message):
        gan.evaluate(real_images(5), batch_size=4, verbose=0)


@pytest.mark.parametrize("steps", [None, 7])
def test_executions_must_divide_an_epoch(steps):
    gan = build(compiled={"steps_per_execution": 4, "run_eagerly": True})
    images = real_images(14 if steps is None else 16)
    dataset = tf.data.Dataset.from_tensor_slices(images).batch(2)
    if steps:
        dataset = dataset.repeat()
    message = "steps_per_execution=4, 7 batches"
    with pytest.raises(ValueError, match=message):
        gan.fit(dataset, steps_per_epoch=steps, verbose=0)
    assert int(gan.step.value) == 0


# What they are given.


def of_arrays(gan, x, y=None):
    gan.fit(x, y, batch_size=4, verbose=0)


def of_dataset(gan, x, y=None):
    data = x if y is None else (x, y)
    dataset = tf.data.Dataset.from_tensor_slices(data).batch(4)
    gan.fit(dataset, verbose=0)


def of_generator(gan, x, y=None):
    gan.fit(((x,) if y is None else (x, y) for _ in range(2)), verbose=0)


def of_batch(gan, x, y=None):
    gan.train_on_batch(x, y)


def in_test(gan, x, y=None):
    gan.evaluate(x, y, batch_size=4, verbose=0)


def in_test_of_batch(gan, x, y=None):
    gan.test_on_batch(x, y)


@pytest.mark.parametrize(
    "feed",
    [
        of_arrays,
        of_dataset,
        of_generator,
        of_batch,
        in_test,
        in_test_of_batch,
    ],
)
@pytest.mark.parametrize(
    ("images", "message"),
    [
        (
            (real_images(4) * 127 + 128).astype("int32"),
            r"float in \[-1, 1\] or uint8. Received: x of dtype int32",
        ),
        (
            real_images(4) * 127.5 + 127.5,
            r"float in \[-1, 1\] or uint8. Received: floats from .* to 2",
        ),
        (
            np.full((4, *SHAPE), np.nan, "float32"),
            r"float in \[-1, 1\] or uint8. Received: floats from nan",
        ),
        (
            real_images(4, (8, 8, 1)),
            r"the generator's shape \(4, 4, 1\). Received: x of shape "
            r"\((4|None), 8, 8, 1\)",
        ),
    ],
    ids=["int32", "range", "nan", "size"],
)
def test_images_that_are_none_are_refused(feed, images, message):
    gan = build()
    with pytest.raises(ValueError, match=message):
        feed(gan, images)
    assert int(gan.step.value) == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.eye(CLASSES, dtype="float32")[:4], r"float32 and shape \(4, 5\)"),
        (np.eye(CLASSES, dtype="int32")[:4], r"int32 and shape \(4, 5\)"),
        (labels(4).astype("float32"), r"of dtype float32 and shape \(4,\)"),
        (labels(4) + 2, "labels from 0 to 4. Received: y from 2 to 5"),
        (labels(3), "as many as the images. Received: 3 labels, 4 images"),
    ],
    ids=["one_hot", "integer_one_hot", "float", "range", "count"],
)
def test_labels_that_are_none_are_refused(given, message):
    with pytest.raises(ValueError, match=f"`y` must be .*{message}"):
        of_batch(build(True), real_images(4), given)


def test_other_floats_and_labels_train_as_float32_and_int32():
    states = []
    for images, classes in (
        (real_images(4), labels(4)),
        (real_images(4).astype("float64"), labels(4, "int64")),
        (real_images(4), labels(4, "uint8")[:, np.newaxis]),
    ):
        keras.utils.set_random_seed(0)
        gan = build(True, compiled={"run_eagerly": True})
        gan.train_step((images, classes))
        states.append(state(gan))
    assert_equal(states[0], states[1])
    assert_equal(states[0], states[2])


@pytest.mark.parametrize("steps", [1, 2])
def test_bytes_train_as_the_floats_of_the_authors(steps):
    """Each update of the discriminator adds noise of its own."""
    images = np.random.default_rng(0).integers(0, 256, (4, *SHAPE), "uint8")
    gans, seen = [], []
    for _ in range(2):
        keras.utils.set_random_seed(0)
        gan = build(
            compiled={"run_eagerly": True},
            discriminator_steps=steps,
            augmentation=lambda images, seed: seen.append(images) or images,
        )
        gans.append(gan)
    seen.clear()
    gans[0].train_step(images)
    # Of every update the real images come first; the last are the generator's.
    floats = np.concatenate(seen[: 2 * steps : 2])
    noise = floats.astype("float64") * 128 + 128 - images
    assert noise.min() >= 0
    assert noise.max() < 1
    # Of so many floats two may agree.
    assert len(np.unique(noise)) > noise.size - 3
    gans[1].train_step(floats)
    assert_equal(state(gans[0]), state(gans[1]))
    seen.clear()
    gans[0].train_step(images)
    assert not np.isclose(np.concatenate(seen[: 2 * steps : 2]), floats).any()


def test_bytes_are_tested_as_floats():
    images = np.random.default_rng(0).integers(0, 256, (4, *SHAPE), "uint8")
    gan = build(compiled={"run_eagerly": True})
    losses = []
    seed = gan._seed(-1, objectives.DEQUANTIZATION)
    for batch in (images, images_lib.dequantize(images, seed)):
        gan.reset_metrics()
        losses.append(gan.test_on_batch(batch))
    assert losses[0] == losses[1]


def test_labels_without_use_are_left_out():
    gan = build(compiled={"run_eagerly": True})
    of_batch(gan, real_images(4), labels(4))
    assert int(gan.step.value) == 1


def test_another_backend_is_named(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ImportError, match="tensorflow.*KERAS_BACKEND=jax$"):
        sngan_tf.gan.GAN  # noqa: B018
