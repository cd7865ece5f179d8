"""A whole update against one written out in float64 without our code."""

import keras
import numpy as np
import pytest
import small
import tensorflow as tf

from sngan_tf import noise
from sngan_tf.gan import GAN

SHAPE, LATENTS, BATCH, STEPS, DECAY = (8, 8, 1), 4, 6, 2, 0.5


class SGD:
    """w - rate g."""

    ours = staticmethod(lambda: keras.optimizers.SGD(0.1))

    def __init__(self, weights):
        self.weights = weights

    def apply(self, gradients):
        for name, gradient in gradients.items():
            self.weights[name] = self.weights[name] - 0.1 * gradient


class Adam:
    """Kingma & Ba (2015), section 2's efficient order with its epsilon."""

    ours = staticmethod(
        lambda: keras.optimizers.Adam(1e-3, 0.5, 0.9, epsilon=1e-7)
    )

    def __init__(self, weights):
        self.weights = weights
        self.first = dict.fromkeys(weights, 0.0)
        self.second = dict.fromkeys(weights, 0.0)
        self.time = 0

    def apply(self, gradients):
        self.time += 1
        rate = 1e-3 * np.sqrt(1 - 0.9**self.time) / (1 - 0.5**self.time)
        for name, g in gradients.items():
            self.first[name] = 0.5 * self.first[name] + 0.5 * g
            self.second[name] = 0.9 * self.second[name] + 0.1 * g**2
            change = self.first[name] / (np.sqrt(self.second[name]) + 1e-7)
            self.weights[name] = self.weights[name] - rate * change


def float64(variables):
    return {
        variable.path: tf.constant(np.array(variable.value), tf.float64)
        for variable in variables
    }


class Reference:
    """The networks of `small` and Algorithm 1, by tf operations alone."""

    def __init__(self, gan, optimizer):
        generator, discriminator = gan.generator, gan.discriminator
        self.g = float64(generator.trainable_variables)
        self.d = float64(discriminator.trainable_variables)
        # In the order of layers: kernel, bias, then of `bn` gamma, beta.
        self.g_names = [*self.g]
        self.d_names = [*self.d]
        self.u = [
            tf.constant(np.array(v.value), tf.float64)
            for v in discriminator.variables
            if v.name == "u"
        ]
        self.moving = [tf.zeros(4, tf.float64), tf.ones(4, tf.float64)]
        self.average = {**self.g}
        self.average_moving = [*self.moving]
        self.g_optimizer, self.d_optimizer = (
            optimizer(self.g),
            optimizer(self.d),
        )

    def generate(self, weights, latents):
        dense, bias, gamma, beta, kernel, out = (
            weights[name] for name in self.g_names
        )
        x = tf.reshape(latents @ dense + bias, (-1, 4, 4, 4))
        mean = tf.reduce_mean(x, (0, 1, 2))
        variance = tf.reduce_mean((x - mean) ** 2, (0, 1, 2))
        self.moving = [
            0.99 * old + 0.01 * new
            for old, new in zip(self.moving, (mean, variance))
        ]
        x = gamma * (x - mean) / tf.sqrt(variance + 1e-3) + beta
        shape = (len(latents), *SHAPE)
        x = tf.nn.conv2d_transpose(x, kernel, shape, 2, "SAME")
        return tf.tanh(x + out)

    def right_vectors(self):
        for w, u in zip(self.matrices(self.d), self.u):
            v = tf.linalg.matvec(w, u, transpose_a=True)
            yield v / tf.norm(v)

    def advance(self):
        """One step of power iteration for each kernel; returns its v."""
        right = [*self.right_vectors()]
        for i, w in enumerate(self.matrices(self.d)):
            u = tf.linalg.matvec(w, right[i])
            self.u[i] = u / tf.norm(u)
        return right

    def matrices(self, weights):
        for name in (self.d_names[0], self.d_names[2]):
            kernel = weights[name]
            yield tf.transpose(tf.reshape(kernel, (-1, kernel.shape[-1])))

    def judge(self, weights, images, right):
        sigmas = [
            tf.tensordot(u, tf.linalg.matvec(w, v), 1)
            for u, w, v in zip(self.u, self.matrices(weights), right)
        ]
        kernel, bias, dense, last = (weights[name] for name in self.d_names)
        y = tf.nn.conv2d(images, kernel / sigmas[0], 2, "SAME") + bias
        y = tf.where(y > 0, y, 0.1 * y)
        return tf.reshape(y, (len(images), -1)) @ (dense / sigmas[1]) + last

    def update(self, batches, latents, updates):
        for images, z in zip(batches, latents):
            fakes = self.generate(self.g, z)
            right = self.advance()
            with tf.GradientTape() as tape:
                tape.watch(self.d)
                real = self.judge(self.d, images, right)
                fake = self.judge(self.d, fakes, right)
                d_loss = tf.reduce_mean(tf.maximum(1 - real, 0))
                d_loss += tf.reduce_mean(tf.maximum(1 + fake, 0))
            self.d_optimizer.apply(tape.gradient(d_loss, {**self.d}))
        right = [*self.right_vectors()]
        with tf.GradientTape() as tape:
            tape.watch(self.g)
            fakes = self.generate(self.g, latents[-1])
            g_loss = -tf.reduce_mean(self.judge(self.d, fakes, right))
        self.g_optimizer.apply(tape.gradient(g_loss, {**self.g}))
        decay = min(DECAY, (1 + updates) / (10 + updates))
        for name, weight in self.g.items():
            self.average[name] = (
                decay * self.average[name] + (1 - decay) * weight
            )
        self.average_moving = [
            decay * old + (1 - decay) * new
            for old, new in zip(self.average_moving, self.moving)
        ]
        return d_loss, g_loss


def difference(actual, expected, start):
    """Returns the error of a change, as a share of the change."""
    actual = np.concatenate([np.ravel(a) for a in actual]).astype("float64")
    expected, start = (
        np.concatenate([np.ravel(a) for a in arrays])
        for arrays in (expected, start)
    )
    change = np.linalg.norm(expected - start)
    assert change > 1e-3
    return np.linalg.norm(actual - expected) / change


def numbers(variables):
    return [keras.ops.convert_to_numpy(v) for v in variables]


def parts(gan, reference):
    """Yields what an update changes: ours, and the reference's."""
    generator, average = gan.generator, gan.average_generator
    vectors = [v for v in gan.discriminator.variables if v.name == "u"]
    yield "generator", generator.trainable_variables, reference.g.values()
    yield (
        "discriminator",
        gan.discriminator.trainable_variables,
        (reference.d.values()),
    )
    yield "u", vectors, reference.u
    for name, model, moving in (
        ("moving", generator, reference.moving),
        ("average_moving", average, reference.average_moving),
    ):
        layer = model.get_layer("bn")
        yield name, (layer.moving_mean, layer.moving_variance), moving
    # Its variables are as many, in the same order, but none is trainable.
    kept = {id(v) for v in average.get_layer("bn").non_trainable_variables[-2:]}
    weights = [v for v in average.weights if id(v) not in kept]
    yield "average", weights, reference.average.values()


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", [SGD, Adam])
def test_update_is_that_of_algorithm_1_in_float64(optimizer):
    gan = GAN(
        *small.build("cnn", SHAPE, LATENTS, 1.0),
        discriminator_steps=STEPS,
        average_decay=DECAY,
    )
    gan.compile(optimizer.ours(), optimizer.ours(), run_eagerly=True)
    # Away from where an iteration would leave it.
    random = np.random.default_rng(0)
    for variable in gan.discriminator.variables:
        if variable.name == "u":
            u = random.normal(size=variable.shape)
            variable.assign(u / np.linalg.norm(u))
    reference = Reference(gan, optimizer)
    start = {name: numbers(ours) for name, ours, _ in parts(gan, reference)}
    for n in range(2):
        images = random.uniform(-1, 1, (STEPS * BATCH, *SHAPE))
        images = images.astype("float32")
        seeds = [gan._seed(draw, 0) for draw in range(STEPS + 1)]
        latents = [noise.normal((BATCH, LATENTS), seed) for seed in seeds]
        latents = [tf.cast(z, tf.float64) for z in latents]
        batches = tf.split(tf.constant(images, tf.float64), STEPS)
        d_loss, g_loss = reference.update(batches, latents, n)
        gan.reset_metrics()
        logs = gan.train_step(images)
        np.testing.assert_allclose(logs["d_loss"], d_loss, rtol=1e-5)
        np.testing.assert_allclose(logs["g_loss"], g_loss, rtol=1e-4)
        for name, ours, theirs in parts(gan, reference):
            share = difference(numbers(ours), theirs, start[name])
            np.testing.assert_allclose(share, 0, atol=3e-5, err_msg=name)
