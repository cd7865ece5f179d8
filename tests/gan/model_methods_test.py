"""The GAN step with penalties, batch norm, labels and batches of two sizes."""

import keras
import numpy as np
import pytest
import small
import tensorflow as tf
from keras import layers

from sngan_tf import networks
from sngan_tf import noise
from sngan_tf.gan import GAN
from sngan_tf.gan import losses
from sngan_tf.gan import methods

SHAPE, LATENTS, CLASSES = (4, 4, 1), 3, 5
RATE = 0.1


def linear_generator(num_classes=None):
    inputs = latents = keras.Input((LATENTS,))
    if num_classes:
        labels = keras.Input((), dtype="int32")
        inputs = [latents, labels]
        latents = layers.Concatenate()(
            [latents, layers.Embedding(num_classes, 2)(labels)]
        )
    x = layers.Dense(16, name="dense")(latents)
    return keras.Model(inputs, layers.Reshape(SHAPE)(x))


def linear_discriminator(regularizer=None):
    images = keras.Input(SHAPE)
    dense = layers.Dense(1, kernel_regularizer=regularizer, name="dense")
    return keras.Model(images, dense(layers.Flatten()(images)))


def build(generator, discriminator, **kwargs):
    gan = GAN(generator, discriminator, **kwargs)
    gan.compile(
        generator_optimizer=keras.optimizers.SGD(RATE),
        discriminator_optimizer=keras.optimizers.SGD(RATE),
        run_eagerly=True,
    )
    return gan


def real_images(count):
    random = np.random.default_rng(0)
    return random.uniform(-1, 1, (count, *SHAPE)).astype("float32")


def discriminator_step(gan, images):
    """Returns the losses, and the kernel before and after."""
    kernel = gan.discriminator.get_layer("dense").kernel
    before = kernel.numpy().astype("float64")
    parts = gan._discriminator_step(tf.constant(images), None, draw=0)
    return parts, before, kernel.numpy()


# Penalties.


def test_gradient_penalty_of_a_linear_discriminator():
    factor = 10.0
    gan = build(
        linear_generator(),
        linear_discriminator(),
        loss="wasserstein",
        gradient_penalty=factor,
    )
    images = real_images(6)
    fakes = gan._fakes(6, draw=0)[0].numpy()
    parts, w, after = discriminator_step(gan, images)
    # Its gradient is w everywhere, so the penalty is (|w| - 1)^2.
    norm = np.linalg.norm(w)
    assert float(parts["d_penalty"]) == pytest.approx(factor * (norm - 1) ** 2)
    mean_images = (fakes - images).reshape(6, -1).mean(axis=0)[:, None]
    gradient = mean_images + 2 * factor * (norm - 1) * w / norm
    np.testing.assert_allclose(after, w - RATE * gradient, rtol=1e-4, atol=1e-6)


def test_gradient_penalty_is_taken_between_real_and_fake():
    # Where the logit is |x|^2 / 2 the gradient is x itself.
    images = keras.Input(SHAPE)
    x = layers.Flatten()(images)
    x = layers.Dot(1)([x, x])
    x = layers.Dense(1, kernel_initializer=keras.initializers.Constant(0.5))(x)
    gan = build(
        linear_generator(),
        keras.Model(images, x),
        loss="wasserstein",
        gradient_penalty=3.0,
    )
    reals = real_images(5)
    fakes = gan._fakes(5, draw=2)[0].numpy()
    mix = noise.uniform((5, 1, 1, 1), gan._seed(2, 3)).numpy()
    points = (mix * reals + (1 - mix) * fakes).reshape(5, -1)
    expected = 3.0 * ((np.linalg.norm(points, axis=1) - 1) ** 2).mean()
    parts = gan._discriminator_step(tf.constant(reals), None, draw=2)
    assert float(parts["d_penalty"]) == pytest.approx(expected, rel=1e-5)
    assert len(np.unique(mix)) == 5


def test_zero_centered_penalty_is_taken_at_real_and_at_fake():
    # Where the logit is c |x|^2 the gradient is 2 c x.
    gamma, c = 3.0, 0.5
    images = keras.Input(SHAPE)
    x = layers.Flatten()(images)
    x = layers.Dot(1)([x, x])
    x = layers.Dense(
        1, kernel_initializer=keras.initializers.Constant(c), name="dense"
    )(x)
    gan = build(
        linear_generator(),
        keras.Model(images, x),
        loss="wasserstein",
        zero_centered_penalty=gamma,
    )
    reals = real_images(5)
    fakes = gan._fakes(5, draw=0)[0].numpy()
    real, fake = ((x**2).sum(axis=(1, 2, 3)).mean() for x in (reals, fakes))
    parts, _, after = discriminator_step(gan, reals)
    assert float(parts["d_penalty"]) == pytest.approx(
        gamma / 2 * 4 * c**2 * (real + fake), rel=1e-5
    )
    slope = fake - real + gamma * 4 * c * (real + fake)
    np.testing.assert_allclose(after, [[c - RATE * slope]], rtol=1e-5)


def test_losses_of_the_discriminator_are_added():
    images = real_images(6)
    steps = {}
    for factor in (0.0, 0.25):
        keras.utils.set_random_seed(0)
        regularizer = keras.regularizers.L2(factor)
        gan = build(linear_generator(), linear_discriminator(regularizer))
        steps[factor] = discriminator_step(gan, images)
    parts, w, after = steps[0.25]
    assert float(parts["d_penalty"]) == pytest.approx(0.25 * (w**2).sum())
    np.testing.assert_allclose(
        after, steps[0.0][2] - RATE * 0.5 * w, rtol=1e-4, atol=1e-6
    )


def test_penalty_is_reported_beside_the_losses():
    gan = build(linear_generator(), linear_discriminator())
    dataset = tf.data.Dataset.from_tensors(real_images(4))
    logs = gan.fit(dataset, verbose=0).history
    assert logs.keys() == {"d_loss", "g_loss", "d_penalty"}
    assert logs["d_penalty"] == [0.0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "loss"),
    [
        ("orthonormal", "hinge"),
        ("weight_clipping", "hinge"),
        ("r1_r2", "relativistic"),
    ],
)
def test_replicas_penalise_and_clip_as_one(two_replicas, method, loss):
    def train(strategy):
        with strategy.scope():
            keras.utils.set_random_seed(0)
            generator, discriminator = small.build(
                "cnn", (8, 8, 1), 4, 1.0, method
            )
            # Constant pictures, as the latents differ between replicas.
            kernel = generator.get_layer("images").kernel
            kernel.assign(np.zeros(kernel.shape))
            gan = GAN(
                generator,
                discriminator,
                loss=loss,
                **methods.get(method).arguments,
            )
            gan.compile(
                generator_optimizer=keras.optimizers.SGD(0.0),
                discriminator_optimizer=keras.optimizers.SGD(RATE),
            )
        images = (
            np.random.default_rng(0)
            .uniform(-1, 1, (24, 8, 8, 1))
            .astype("float32")
        )
        dataset = tf.data.Dataset.from_tensor_slices(images).batch(8)
        gan.fit(dataset, verbose=0)
        return gan.discriminator.variables

    pairs = zip(train(tf.distribute.get_strategy()), train(two_replicas))
    for one, two in pairs:
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(one),
            keras.ops.convert_to_numpy(two),
            atol=1e-5,
        )


# Batch norm.


@pytest.fixture
def batch_norm_gan():
    images = keras.Input(SHAPE)
    x = layers.Dense(3)(layers.Flatten()(images))
    x = layers.BatchNormalization(momentum=0.9, scale=False, name="bn")(x)
    discriminator = keras.Model(images, layers.Dense(1)(layers.ReLU()(x)))
    return build(linear_generator(), discriminator)


def twin_of(model):
    twin = keras.models.clone_model(model)
    twin.set_weights(model.get_weights())
    return twin


def test_batch_norm_sees_real_and_fake_apart(batch_norm_gan):
    gan = batch_norm_gan
    twin = twin_of(gan.discriminator)
    images = tf.constant(real_images(6))
    fakes, _ = gan._fakes(6, draw=0)
    pair = losses.get("hinge")
    expected = pair.discriminator(
        twin(images, training=True), twin(fakes, training=True)
    )
    parts = gan._discriminator_step(images, None, draw=0)
    assert float(parts["d_loss"]) == pytest.approx(float(expected), rel=1e-5)
    for name in ("moving_mean", "moving_variance"):
        np.testing.assert_allclose(
            getattr(gan.discriminator.get_layer("bn"), name),
            getattr(twin.get_layer("bn"), name),
            rtol=1e-5,
        )


def test_zero_centered_penalty_is_of_the_logits_of_the_loss(batch_norm_gan):
    discriminator = batch_norm_gan.discriminator
    gan = build(linear_generator(), discriminator, zero_centered_penalty=2.0)
    halves = [tf.constant(real_images(6)), gan._fakes(6, draw=0)[0]]
    plain = build(linear_generator(), twin_of(discriminator))
    plain.generator.set_weights(gan.generator.get_weights())
    plain._discriminator_step(halves[0], None, draw=0)
    twin, expected = twin_of(discriminator), 0.0
    for images in halves:
        with tf.GradientTape() as tape:
            tape.watch(images)
            logits = twin(images, training=True)
        squares = tape.gradient(logits, images).numpy() ** 2
        expected += squares.sum(axis=(1, 2, 3)).mean()
    parts = gan._discriminator_step(halves[0], None, draw=0)
    assert float(parts["d_penalty"]) == pytest.approx(expected, rel=1e-4)
    # The penalty's passes keep no statistics.
    for one, other in zip(
        discriminator.non_trainable_variables,
        plain.discriminator.non_trainable_variables,
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


def test_generator_step_uses_batch_statistics_it_does_not_keep(batch_norm_gan):
    gan = batch_norm_gan
    twin = twin_of(gan.discriminator)
    before = gan.discriminator.get_weights()
    fakes, _ = gan._fakes(6, draw=1)
    expected = losses.get("hinge").generator(twin(fakes, training=True))
    other = losses.get("hinge").generator(twin_of(twin)(fakes))
    parts = gan._generator_step(6, draw=1)
    assert float(parts["g_loss"]) == pytest.approx(float(expected), rel=1e-5)
    assert float(parts["g_loss"]) != pytest.approx(float(other), rel=1e-2)
    for a, b in zip(before, gan.discriminator.get_weights()):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_batch_norm_trains_on_replicas(two_replicas):
    with two_replicas.scope():
        gan = GAN(*small.build("cnn", (8, 8, 1), 4, 1.0, "batch_norm"))
        gan.compile(
            generator_optimizer=keras.optimizers.SGD(RATE),
            discriminator_optimizer=keras.optimizers.SGD(RATE),
        )
    images = (
        np.random.default_rng(0).uniform(-1, 1, (8, 8, 8, 1)).astype("float32")
    )
    dataset = tf.data.Dataset.from_tensor_slices(images).batch(8)
    logs = gan.fit(dataset, verbose=0).history
    assert np.isfinite([logs["d_loss"], logs["g_loss"]]).all()


# Batches.


def test_generator_batch_has_its_own_size():
    shown = []

    def record(images, seed):
        shown.append(len(images))
        return images

    gan = build(
        linear_generator(),
        linear_discriminator(),
        discriminator_steps=2,
        generator_batch_size=7,
        augmentation=record,
    )
    gan.train_step(tf.constant(real_images(6)))
    # Real and fake of each discriminator update, then the generator's.
    assert shown == [3, 3, 3, 3, 7]


def test_replicas_share_the_generator_batch(two_replicas):
    with two_replicas.scope():
        gan = GAN(
            linear_generator(), linear_discriminator(), generator_batch_size=6
        )
        odd = GAN(
            linear_generator(), linear_discriminator(), generator_batch_size=7
        )
    images = tf.zeros((2, *SHAPE))
    sizes = two_replicas.run(lambda: tf.constant(gan._generator_images(images)))
    assert [
        int(size) for size in two_replicas.experimental_local_results(sizes)
    ] == [3, 3]
    with pytest.raises(ValueError, match="generator_batch_size=7, 2 replicas"):
        two_replicas.run(lambda: odd._generator_images(images))


def test_paired_loss_takes_the_last_real_images_in_turn():
    shown = []

    def doubled(images, seed):
        shown.append(images)
        return 2 * images

    gan = build(
        *small.build("cnn", (*SHAPE[:2], 1), LATENTS, 1.0),
        loss="relativistic",
        discriminator_steps=2,
        generator_batch_size=7,
        augmentation=doubled,
    )
    images = real_images(6)
    gan.compile(
        generator_optimizer=keras.optimizers.SGD(0.0),
        discriminator_optimizer=keras.optimizers.SGD(RATE),
        run_eagerly=True,
    )
    parts = gan.train_step(tf.constant(images))
    *_, reals, fakes = shown
    np.testing.assert_array_equal(reals, images[3:])
    real, fake = (np.ravel(gan.discriminator(2 * x)) for x in (reals, fakes))
    assert len(fake) == 7
    expected = np.logaddexp(0, real[[0, 1, 2, 0, 1, 2, 0]] - fake).mean()
    assert float(parts["g_loss"]) == pytest.approx(expected, rel=1e-4)


def test_paired_loss_is_reported_on_held_out_images():
    gan = build(
        *small.build("cnn", (*SHAPE[:2], 1), LATENTS, 1.0),
        loss="relativistic",
        zero_centered_penalty=0.5,
    )
    images = real_images(6)
    before = gan.get_weights()
    found = gan.evaluate(images, batch_size=6, verbose=0, return_dict=True)
    fakes = gan._fakes(6, draw=-1, training=False)[0]
    real, fake = (np.ravel(gan.discriminator(x)) for x in (images, fakes))
    assert found["d_loss"] == pytest.approx(
        np.logaddexp(0, fake - real).mean(), rel=1e-5
    )
    assert found["g_loss"] == pytest.approx(
        np.logaddexp(0, real - fake).mean(), rel=1e-5
    )
    assert found["d_penalty"] > 0
    for a, b in zip(before, gan.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


# Labels.


class Recorder(layers.Layer):
    """Hands the labels that it is shown to a function."""

    def __init__(self, record):
        super().__init__()
        self.record = record

    def call(self, features, labels):
        if hasattr(labels, "numpy"):
            self.record(labels.numpy())
        return features


@pytest.fixture
def label_gan():
    shown = []
    images, labels = keras.Input(SHAPE), keras.Input((), dtype="int32")
    x = Recorder(shown.append)(layers.Flatten()(images), labels)
    discriminator = keras.Model([images, labels], layers.Dense(1)(x))
    gan = build(
        linear_generator(CLASSES),
        discriminator,
        loss="wasserstein",
        gradient_penalty=1.0,
        num_classes=CLASSES,
    )
    return gan, shown


def test_discriminator_sees_each_image_with_its_label(label_gan):
    gan, shown = label_gan
    labels = np.array([4, 4, 0, 1], "int32")
    _, fake_labels = gan._fakes(4, draw=0)
    _, generator_labels = gan._fakes(4, draw=1)
    gan.train_step((tf.constant(real_images(4)), tf.constant(labels)))
    both, penalised, generator_step = shown
    np.testing.assert_array_equal(both, [*labels, *fake_labels.numpy()])
    np.testing.assert_array_equal(penalised, labels)
    np.testing.assert_array_equal(generator_step, generator_labels)


def test_fake_labels_are_uniform(label_gan):
    gan, _ = label_gan
    labels = gan._fakes(10_000, draw=0)[1].numpy()
    counts = np.bincount(labels, minlength=CLASSES)
    assert len(counts) == CLASSES
    # Five standard deviations of a binomial count.
    assert np.abs(counts - 2000).max() < 5 * np.sqrt(10_000 * 0.2 * 0.8)


def test_fake_images_are_those_of_their_labels(label_gan):
    gan, _ = label_gan
    images, labels = gan._fakes(6, draw=3)
    latents = noise.normal((6, LATENTS), gan._seed(3, 0))
    np.testing.assert_allclose(images, gan.generator([latents, labels]))


def test_labels_are_required(label_gan):
    gan, _ = label_gan
    with pytest.raises(ValueError, match="batches of \\(images, labels\\)"):
        gan.train_step(tf.constant(real_images(4)))


def test_labels_of_both_or_neither():
    with pytest.raises(ValueError, match="both be conditional, or neither"):
        GAN(linear_generator(3), linear_discriminator(), num_classes=3)


def test_auxiliary_classifier_learns_on_real_and_teaches_on_fake():
    images = keras.Input(SHAPE)
    x = layers.Flatten()(images)
    discriminator = keras.Model(
        images, [layers.Dense(1)(x), layers.Dense(CLASSES, name="classes")(x)]
    )
    gan = build(
        linear_generator(CLASSES),
        discriminator,
        num_classes=CLASSES,
        auxiliary_weights=(2.0, 0.5),
    )

    def cross_entropy(images, labels):
        logits = discriminator(images)[1].numpy().astype("float64")
        logits -= logits.max(axis=1, keepdims=True)
        chosen = logits[np.arange(len(labels)), labels]
        return (np.log(np.exp(logits).sum(axis=1)) - chosen).mean()

    reals, labels = tf.constant(real_images(4)), np.array([0, 3, 3, 1])
    expected = 2.0 * cross_entropy(reals, labels)
    parts = gan._discriminator_step(reals, tf.constant(labels, tf.int32), 0)
    assert float(parts["d_classification"]) == pytest.approx(expected, rel=1e-5)

    fakes, fake_labels = gan._fakes(4, draw=1)
    expected = 0.5 * cross_entropy(fakes, fake_labels.numpy())
    before = discriminator.get_layer("classes").kernel.numpy()
    parts = gan._generator_step(4, draw=1)
    assert float(parts["g_classification"]) == pytest.approx(expected, rel=1e-5)
    np.testing.assert_array_equal(
        before, discriminator.get_layer("classes").kernel
    )


@pytest.mark.slow
def test_saved_conditional_model_goes_on_where_it_stopped(tmp_path):
    gan = GAN(
        *networks.build(
            "acgan_resnet",
            (32, 32, 1),
            latent_dim=4,
            width=1 / 64,
            method="gan_gp",
            num_classes=3,
        ),
        loss="relativistic",
        generator_batch_size=6,
        num_classes=3,
        gradient_penalty=10.0,
        zero_centered_penalty=0.5,
        auxiliary_weights=(0.7, 0.3),
    )
    gan.compile(
        generator_optimizer=keras.optimizers.Adam(1e-3),
        discriminator_optimizer=keras.optimizers.Adam(1e-3),
        run_eagerly=True,
    )
    images = tf.random.stateless_uniform((4, 32, 32, 1), (0, 0))
    data = images, tf.constant([0, 1, 2, 0])
    gan.train_step(data)
    gan.save(tmp_path / "gan.keras")
    loaded = keras.models.load_model(tmp_path / "gan.keras")
    for model in (gan, loaded):
        model.train_step(data)
    for a, b in zip(gan.weights, loaded.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_keras_layer_divides_once_in_each_discriminator_update():
    """By one power iteration, kept; and in a generator's nothing is kept."""
    discriminator = small.build(
        "cnn", SHAPE, LATENTS, 1.0, "keras_spectral_norm"
    )[1]
    gan = build(linear_generator(), discriminator, loss="wasserstein")
    layer = discriminator.get_layer("normalized_conv_1")
    kernel, u = layer.kernel.numpy(), layer.vector_u.numpy()[0]
    w = kernel.reshape(-1, len(u)).T
    v = w.T @ u / np.linalg.norm(w.T @ u)
    sigma = np.linalg.norm(w @ v)
    gan.discriminator_optimizer.learning_rate.assign(0.0)
    gan._discriminator_step(tf.constant(real_images(4)), None, draw=0)
    np.testing.assert_allclose(layer.kernel, kernel / sigma, rtol=1e-5)
    np.testing.assert_allclose(layer.vector_u[0], w @ v / sigma, rtol=1e-4)
    before = [variable.numpy() for variable in discriminator.variables]
    gan._generator_step(4, 1)
    for a, b in zip(discriminator.variables, before, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=a.path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "loss"),
    [
        # That every method trains on the first of its losses is seen elsewhere.
        *(("spectral_norm", loss) for loss in losses.LOSSES),
        # Penalties in images, passes apart, and losses of the layers.
        ("gan_gp", "non_saturating"),
        ("r1_r2", "hinge"),
        ("r1_r2", "relativistic"),
        ("batch_norm", "relativistic"),
        ("orthonormal", "wasserstein"),
    ],
)
def test_method_trains_on_its_other_losses(method, loss):
    row = methods.get(method)
    gan = build(
        *small.build("cnn", (8, 8, 1), LATENTS, 1.0, method),
        loss=loss,
        **row.arguments,
    )
    images = tf.random.stateless_uniform((4, 8, 8, 1), (0, 0), -1, 1)
    # Without epsilon any gradient but 0 moves a weight by the learning rate.
    gan.compile(
        generator_optimizer=keras.optimizers.Adam(1e-5, epsilon=1e-30),
        discriminator_optimizer=keras.optimizers.Adam(1e-5, epsilon=1e-30),
    )
    kernels = [v for v in gan.trainable_variables if v.name == "kernel"]
    before = [kernel.numpy() for kernel in kernels]
    parts = gan.train_step(images)
    assert np.isfinite([float(part) for part in parts.values()]).all()
    for kernel, old in zip(kernels, before, strict=True):
        assert (kernel.numpy() != old).any(), kernel.path
