import keras
import numpy as np
import pytest
import small
import tensorflow as tf

from sngan_tf import noise
from sngan_tf.gan import GAN
from sngan_tf.gan import augmentation
from sngan_tf.gan import losses

SHAPE = (8, 8, 1)


def build(discriminator_rate=0.1, generator_rate=0.1, **kwargs):
    compile_arguments = {
        key: kwargs.pop(key)
        for key in ("jit_compile", "run_eagerly")
        if key in kwargs
    }
    gan = GAN(*small.build("cnn", SHAPE, latent_dim=4, width=1.0), **kwargs)
    gan.compile(
        generator_optimizer=keras.optimizers.SGD(generator_rate),
        discriminator_optimizer=keras.optimizers.SGD(discriminator_rate),
        **compile_arguments,
    )
    return gan


def real_images(count, seed=0):
    return (
        np.random.default_rng(seed)
        .uniform(-1, 1, (count, *SHAPE))
        .astype("float32")
    )


def fit(gan, images, batch_size, steps=1):
    dataset = tf.data.Dataset.from_tensor_slices(images)
    dataset = dataset.batch(batch_size, drop_remainder=True)
    return gan.fit(dataset.repeat(), steps_per_epoch=steps, verbose=0).history


def values(variables):
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


def assert_equal(before, after):
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)


class Recorder:
    """An augmentation that changes nothing and keeps what it was shown."""

    def __init__(self):
        self.images = []
        self.seeds = []

    def __call__(self, images, seed):
        self.images.append(np.array(images))
        self.seeds.append(tuple(np.array(seed)))
        return images


def latents_of(gan, draw):
    return noise.normal((3, gan.latent_dim), gan._seed(draw, 0))


def test_each_discriminator_update_sees_fresh_real_images_and_latents():
    recorder = Recorder()
    gan = build(discriminator_steps=3, augmentation=recorder, run_eagerly=True)
    images = real_images(12)
    fit(gan, images, batch_size=12)
    # Real and fake in turn, then the generator's.
    *discriminator_batches, generator_batch = recorder.images
    assert [len(batch) for batch in recorder.images] == [4] * 7
    seen = np.concatenate(discriminator_batches[::2])
    np.testing.assert_array_equal(seen, images)
    fakes = [*discriminator_batches[1::2], generator_batch]
    fakes = np.concatenate(fakes).reshape(16, -1)
    assert len(np.unique(fakes, axis=0)) == 16
    assert len(set(recorder.seeds)) == 7


def test_u_advances_once_per_discriminator_update():
    steps = 3
    gan = build(0.0, 0.0, discriminator_steps=steps)
    layer = gan.discriminator.get_layer("normalized_conv_1")
    u = np.random.default_rng(0).normal(size=layer.kernels[0].shape[-1])
    u = u / np.linalg.norm(u)
    [variable] = [v for v in layer.variables if v.name == "u"]
    variable.assign(u)
    kernel = layer.kernels[0].numpy().astype("float64")
    w = kernel.reshape(-1, kernel.shape[-1]).T
    fit(gan, real_images(12), batch_size=12)
    for _ in range(steps):
        v = w.T @ u / np.linalg.norm(w.T @ u)
        u = w @ v / np.linalg.norm(w @ v)
    np.testing.assert_allclose(variable.numpy(), u, atol=1e-5)


def test_generator_update_changes_nothing_of_the_discriminator():
    gan = build()
    before = values(gan.discriminator.variables)
    kernels = values(gan.generator.trainable_variables)
    gan._generator_step(4, draw=0)
    assert_equal(before, values(gan.discriminator.variables))
    for a, b in zip(kernels, values(gan.generator.trainable_variables)):
        assert not np.array_equal(a, b)


def test_discriminator_update_changes_no_trainable_weight_of_the_generator():
    gan = build()
    before = values(gan.generator.trainable_variables)
    kernels = values(gan.discriminator.trainable_variables)
    gan._discriminator_step(tf.constant(real_images(4)), None, draw=0)
    assert_equal(before, values(gan.generator.trainable_variables))
    changed = [
        not np.array_equal(a, b)
        for a, b in zip(kernels, values(gan.discriminator.trainable_variables))
    ]
    # The bias of the last layer cancels between real and fake under hinge.
    assert sum(changed) >= len(changed) - 1


@pytest.mark.parametrize("loss", sorted(losses.LOSSES))
def test_updates_are_those_of_separate_passes_written_out(loss):
    gan = build(loss=loss)
    twin = keras.models.clone_model(gan.discriminator)
    twin.set_weights(gan.discriminator.get_weights())
    images = tf.constant(real_images(6))
    fakes, _ = gan._fakes(6, draw=0)
    for layer in twin.layers:
        if layer.weights:
            layer(keras.ops.ones((1, *layer.input.shape[1:])), training=True)
    pair = losses.get(loss)
    with tf.GradientTape() as tape:
        expected = pair.discriminator(twin(images), twin(fakes))
    gradients = tape.gradient(expected, twin.trainable_variables)
    twin.optimizer = keras.optimizers.SGD(0.1)
    twin.optimizer.apply(gradients, twin.trainable_variables)
    actual = gan._discriminator_step(images, None, draw=0)
    np.testing.assert_allclose(actual["d_loss"], expected, rtol=1e-3)
    for a, b in zip(
        twin.trainable_variables, gan.discriminator.trainable_variables
    ):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_latents_are_a_function_of_seed_step_and_draw():
    def latents(seed, step, draw):
        gan = build(seed=seed)
        gan.step.assign(step)
        return latents_of(gan, draw).numpy()

    first = latents(0, 5, 1)
    np.testing.assert_array_equal(first, latents(0, 5, 1))
    for other in [(1, 5, 1), (0, 6, 1), (0, 5, 0)]:
        assert not np.isclose(first, latents(*other)).any()


@pytest.mark.slow
def test_jit_compiled_step_matches_the_plain_one():
    def weights(jit_compile):
        keras.utils.set_random_seed(0)
        gan = build(
            jit_compile=jit_compile,
            discriminator_steps=2,
            average_decay=0.9,
            augmentation=augmentation.RandomShift(1),
        )
        fit(gan, real_images(16), batch_size=8, steps=2)
        return gan.weights

    for plain, jitted in zip(weights(False), weights(True), strict=True):
        np.testing.assert_allclose(plain, jitted, rtol=1e-3, atol=1e-5)


class LogsByStep(keras.callbacks.Callback):
    """Keeps the logs of each execution by the step that it ended at."""

    def __init__(self):
        super().__init__()
        self.logs = {}

    def on_train_batch_end(self, batch, logs=None):
        self.logs[int(self.model.step.numpy())] = dict(logs)


def go_on(gan, per_execution, until):
    """Trains on as many at a time; returns the logs by step."""
    gan.compile(
        generator_optimizer=gan.generator_optimizer,
        discriminator_optimizer=gan.discriminator_optimizer,
        steps_per_execution=per_execution,
    )
    step = int(gan.step.numpy())
    dataset = tf.data.Dataset.from_tensor_slices(real_images(64)).batch(8)
    kept = LogsByStep()
    gan.fit(
        dataset.skip(step).repeat(),
        # Where the first execution would have begun.
        steps_per_epoch=until - step // per_execution * per_execution,
        verbose=0,
        callbacks=[kept],
    )
    return kept.logs


@pytest.fixture(scope="module")
def updated_one_by_one():
    keras.utils.set_random_seed(0)
    gan = build_adam()
    return gan, go_on(gan, 1, until=8)


def build_adam():
    gan = build(average_decay=0.9)
    gan.compile(
        generator_optimizer=keras.optimizers.Adam(1e-2),
        discriminator_optimizer=keras.optimizers.Adam(1e-2),
    )
    return gan


def state_of(gan):
    return values(
        [
            *gan.weights,
            *gan.generator_optimizer.variables,
            *gan.discriminator_optimizer.variables,
        ]
    )


@pytest.mark.slow
def test_executions_of_several_updates_are_those_of_one(updated_one_by_one):
    gan, logs = updated_one_by_one
    several = build_adam()
    assert go_on(several, 4, until=8) == {step: logs[step] for step in (4, 8)}
    assert_equal(state_of(gan), state_of(several))


@pytest.mark.slow
def test_first_execution_ends_at_a_multiple_of_its_updates(updated_one_by_one):
    gan, _ = updated_one_by_one
    several = build_adam()
    go_on(several, 1, until=3)
    assert list(go_on(several, 4, until=8)) == [4, 8]
    assert_equal(state_of(gan), state_of(several))


@pytest.mark.parametrize("warmup", [True, False])
def test_average_generator_follows_its_decay(warmup):
    gan = build(average_decay=0.15, average_warmup=warmup, run_eagerly=True)
    average = values(gan.generator.weights)
    images = tf.constant(real_images(4))
    for n in range(4):
        gan.train_step(images)
        # 0.1, 2 / 11 and so on, but 0.15 at most.
        decay = min(0.15, (1 + n) / (10 + n)) if warmup else 0.15
        average = [
            decay * a + (1 - decay) * w
            for a, w in zip(average, values(gan.generator.weights))
        ]
        for expected, actual in zip(average, gan.average_generator.weights):
            np.testing.assert_allclose(expected, actual, rtol=1e-5, atol=1e-6)
    assert gan.sampling_generator is gan.average_generator
    assert build().sampling_generator is not None


def test_summary_tells_generator_and_average_apart():
    gan = build(average_decay=0.5)
    lines = []
    gan.summary(print_fn=lines.append)
    assert gan.average_generator.name == f"average_{gan.generator.name}"
    assert f" {gan.average_generator.name} " in lines[0]


def test_fit_counts_generator_updates_and_reports_mean_losses():
    gan = build(discriminator_steps=2)
    steps = []
    callback = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: steps.append(logs)
    )
    dataset = tf.data.Dataset.from_tensor_slices(real_images(24)).batch(8)
    history = gan.fit(dataset, epochs=2, verbose=0, callbacks=[callback])
    assert int(gan.step.numpy()) == 6
    assert len(steps) == 6
    for name in ("d_loss", "g_loss"):
        assert np.isfinite(history.history[name]).all()
        assert history.history[name][-1] == pytest.approx(
            float(steps[-1][name])
        )


def test_call_returns_images_of_latents():
    gan = build(average_decay=0.5)
    latents = keras.random.normal((3, 4))
    np.testing.assert_array_equal(
        gan(latents), gan.average_generator(latents, training=False)
    )


@pytest.mark.slow
def test_saved_model_goes_on_where_it_stopped(tmp_path):
    gan = build(
        discriminator_steps=2,
        average_decay=0.5,
        augmentation=augmentation.RandomShift(2),
        seed=3,
    )
    fit(gan, real_images(8), batch_size=8)
    checkpoint = keras.callbacks.ModelCheckpoint(
        str(tmp_path / "gan.keras"), save_freq=1
    )
    dataset = tf.data.Dataset.from_tensor_slices(real_images(8)).batch(8)
    gan.fit(dataset, verbose=0, callbacks=[checkpoint])
    loaded = keras.models.load_model(tmp_path / "gan.keras")
    assert_equal(values(gan.weights), values(loaded.weights))
    for model in (gan, loaded):
        fit(model, real_images(8), batch_size=8)
    assert_equal(values(gan.weights), values(loaded.weights))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"discriminator_steps": 0}, "discriminator_steps=0"),
        ({"average_decay": 1.0}, "average_decay=1.0"),
        ({"loss": "huber"}, "loss=huber"),
        ({"generator_batch_size": 0}, "generator_batch_size=0"),
        ({"gradient_penalty": -1.0}, "gradient_penalty=-1.0"),
        ({"zero_centered_penalty": -1.0}, "zero_centered_penalty=-1.0"),
        ({"num_classes": 3}, "num_classes=3, a generator of 1 inputs"),
    ],
)
def test_bad_arguments_name_themselves(arguments, message):
    with pytest.raises(ValueError, match=message):
        build(**arguments)


def test_mismatched_networks_are_refused():
    generator, _ = small.build("cnn", (8, 8, 1), 4, 1.0)
    _, discriminator = small.build("cnn", (16, 16, 1), 4, 1.0)
    with pytest.raises(ValueError, match="images of shape"):
        GAN(generator, discriminator)


def test_batch_must_be_divisible_by_discriminator_steps():
    gan = build(discriminator_steps=3)
    with pytest.raises(ValueError, match="8 images, discriminator_steps=3"):
        fit(gan, real_images(8), batch_size=8)
