"""How the networks are called: dropout, kept statistics, subclassed models."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from sngan_tf.gan import GAN
from sngan_tf.gan import passes
from sngan_tf.layers import SpectralNormalization
from sngan_tf.layers import power_iteration

SHAPE, LATENTS, CLASSES = (4, 4, 1), 3, 5


def generator():
    latents = keras.Input((LATENTS,))
    x = layers.Dense(16, activation="tanh")(latents)
    return keras.Model(latents, layers.Reshape(SHAPE)(x))


def discriminator(*middle):
    images = keras.Input(SHAPE)
    y = SpectralNormalization(layers.Dense(8), name="normalized")(
        layers.Flatten()(images)
    )
    for layer in middle:
        y = layer(y)
    return keras.Model(images, layers.Dense(1)(y))


def build(*networks, rate=0.0, **kwargs):
    gan = GAN(*networks, **kwargs)
    gan.compile(
        keras.optimizers.SGD(rate), keras.optimizers.SGD(rate), run_eagerly=True
    )
    return gan


def real_images(count):
    random = np.random.default_rng(0)
    return random.uniform(-1, 1, (count, *SHAPE)).astype("float32")


def values(model):
    return [keras.ops.convert_to_numpy(v) for v in model.variables]


def unsettled(model):
    """Turns `u` away from where it stays; returns it and its matrix."""
    layer = model.get_layer("normalized")
    (u,) = (v for v in layer.variables if v.name == "u")
    random = np.random.default_rng(1).normal(size=u.shape)
    u.assign(random / np.linalg.norm(random))
    return u, layer.kernels[0].numpy().T


class Recorder(layers.Layer):
    """Keeps what it is called on."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def call(self, x):
        if hasattr(x, "numpy"):
            self.seen.append(x.numpy())
        return x


# What a call changes.


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_dropout_is_on_in_every_training_pass(penalty):
    recorder = Recorder()
    ones = layers.Lambda(lambda x: 0 * x + 1)
    model = discriminator(ones, layers.Dropout(0.5), recorder)
    gan = build(generator(), model, gradient_penalty=penalty)
    gan.train_step(real_images(64))
    # Of real and fake, of the penalty, of the generator's update.
    assert len(recorder.seen) == (3 if penalty else 2)
    for seen in recorder.seen:
        assert set(np.unique(seen)) == {0.0, 2.0}
        assert 0.3 < (seen == 0).mean() < 0.7
    # Each draws masks of its own.
    first, *others = recorder.seen
    for other in others:
        assert (first[:64] != other).mean() > 0.3
        assert (first[64:] != other).mean() > 0.3
    again = recorder.seen.copy()
    recorder.seen.clear()
    gan.train_step(real_images(64))
    assert (recorder.seen[0] != again[0]).mean() > 0.3
    # A function of seed and step alone.
    recorder.seen.clear()
    gan.step.assign(0)
    gan.train_step(real_images(64))
    for seen, before in zip(recorder.seen, again, strict=True):
        np.testing.assert_array_equal(seen, before)


def test_dropout_differs_between_replicas(two_replicas):
    with two_replicas.scope():
        model = keras.Sequential([keras.Input((50,)), layers.Dropout(0.5)])
    gan = build(generator(), discriminator())
    seed = gan._seeds(0)
    for call in (passes.training, passes.unchanged):
        masks = two_replicas.run(
            lambda call=call: call(model, tf.ones((2, 50)), seed)
        )
        first, second = two_replicas.experimental_local_results(masks)
        assert (first.numpy() != second.numpy()).mean() > 0.3


def test_generator_update_takes_u_as_it_is():
    model = discriminator(layers.BatchNormalization(), layers.Dropout(0.5))
    gan = build(generator(), model, gradient_penalty=1.0)
    u, w = unsettled(model)
    before = values(model)
    seen = []
    original = power_iteration.measure
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            power_iteration,
            "measure",
            lambda *args: seen.append(original(*args)) or seen[-1],
        )
        gan._generator_step(4, draw=1)
    # u^T W v of the u that there is.
    assert [float(sigma.value) for sigma in seen] == pytest.approx(
        [np.linalg.norm(u.numpy() @ w)], rel=1e-5
    )
    for a, b in zip(before, values(model)):
        np.testing.assert_array_equal(a, b)


def test_u_advances_once_beside_batch_norm():
    model = discriminator(layers.BatchNormalization())
    gan = build(
        generator(), model, gradient_penalty=1.0, zero_centered_penalty=1.0
    )
    u, w = unsettled(model)
    once = w @ (w.T @ u.numpy())
    once /= np.linalg.norm(once)
    gan._discriminator_step(tf.constant(real_images(4)), None, draw=0)
    np.testing.assert_allclose(u, once, atol=1e-5)


def test_pause_is_of_its_context_alone():
    def fail():
        with power_iteration.paused():
            with power_iteration.paused():
                pass
            assert power_iteration.is_paused()
            raise KeyError

    assert not power_iteration.is_paused()
    with pytest.raises(KeyError):
        fail()
    assert not power_iteration.is_paused()


# Logits of patches.


@pytest.mark.parametrize("penalty", [0.0, 2.0])
def test_logits_may_be_of_patches(penalty):
    images = keras.Input(SHAPE)
    convolution = layers.Conv2D(1, 2, strides=2)
    model = keras.Model(images, convolution(images))
    gan = build(generator(), model, gradient_penalty=penalty)
    reals = tf.constant(real_images(6))
    fakes, _ = gan._fakes(6, draw=0)
    parts = gan._discriminator_step(reals, None, draw=0)
    assert model.output_shape == (None, 2, 2, 1)
    expected = np.maximum(1 - model(reals), 0).mean()
    expected += np.maximum(1 + model(fakes), 0).mean()
    assert float(parts["d_loss"]) == pytest.approx(expected, rel=1e-5)
    # Of the sum of an image's logits each pixel has one weight for gradient.
    norm = 2 * np.linalg.norm(convolution.kernel.numpy())
    assert float(parts["d_penalty"]) == pytest.approx(
        penalty * (norm - 1) ** 2, rel=1e-5
    )
    parts = gan._generator_step(6, draw=1)
    fakes, _ = gan._fakes(6, draw=1)
    assert float(parts["g_loss"]) == pytest.approx(-np.mean(model(fakes)))


# Subclassed networks.


@keras.saving.register_keras_serializable("passes_test")
class Generator(keras.Model):
    def __init__(self, num_classes=None, **kwargs):
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.embedding = None
        if num_classes:
            self.embedding = layers.Embedding(num_classes, 2)
        self.dense = layers.Dense(16, activation="tanh")
        self.reshape = layers.Reshape(SHAPE)

    def call(self, inputs, training=False):
        if self.embedding is not None:
            latents, labels = inputs
            embedded = self.embedding(labels)
            inputs = keras.ops.concatenate([latents, embedded], -1)
        return self.reshape(self.dense(inputs))

    def get_config(self):
        return {**super().get_config(), "num_classes": self.num_classes}


@keras.saving.register_keras_serializable("passes_test")
class Discriminator(keras.Model):
    def __init__(self, num_classes=None, **kwargs):
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.flatten = layers.Flatten()
        self.dense = SpectralNormalization(layers.Dense(1))
        self.classes = layers.Dense(num_classes) if num_classes else None

    def call(self, inputs, training=False):
        x = self.flatten(inputs)
        logits = self.dense(x, training=training)
        return [logits, self.classes(x)] if self.num_classes else logits

    def get_config(self):
        return {**super().get_config(), "num_classes": self.num_classes}


@pytest.mark.slow
@pytest.mark.parametrize("num_classes", [None, CLASSES])
def test_subclassed_networks_train_and_are_saved(num_classes, tmp_path):
    networks = Generator(num_classes), Discriminator(num_classes)
    latents = np.zeros((1, LATENTS), "float32")
    labels = np.zeros((1,), "int32")
    networks[0]([latents, labels] if num_classes else latents)
    networks[1](np.zeros((1, *SHAPE), "float32"))
    gan = build(*networks, rate=0.1, num_classes=num_classes, average_decay=0.5)
    assert gan.latent_dim == LATENTS
    data = real_images(4)
    if num_classes:
        data = data, np.arange(4)
    before = networks[1].dense.kernels[0].numpy()
    gan.train_step(data)
    assert (before != networks[1].dense.kernels[0].numpy()).any()
    gan.save(tmp_path / "gan.keras")
    loaded = keras.models.load_model(tmp_path / "gan.keras")
    for model in (gan, loaded):
        model.train_step(data)
    for a, b in zip(gan.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    loaded.export(tmp_path / "exported")
    sample = tf.saved_model.load(str(tmp_path / "exported")).signatures[
        "sample"
    ]
    np.testing.assert_array_equal(
        sample(seed=tf.constant(3), count=tf.constant(4))["images"],
        gan.sampler.many(3, 4),
    )


@pytest.mark.parametrize(
    ("networks", "message"),
    [
        (lambda: (Generator(), discriminator()), "`generator` must be a model"),
        (
            lambda: (generator(), keras.Sequential([layers.Dense(1)])),
            "`discriminator` must be a model that is built.*Sequential",
        ),
    ],
)
def test_networks_must_be_built(networks, message):
    with pytest.raises(ValueError, match=message):
        GAN(*networks())
