"""Updates of a GAN on JAX, many a call: by our layers, and by Keras's way."""

import os

os.environ["KERAS_BACKEND"] = "jax"

import jax
import jax_pictures
import keras
import train_jax
from jax import numpy as jnp

from sngan_tf.gan import penalties

PENALTY = 10.0  # The paper's lambda.


def many_updates(update, state, pictures, key, numbers, rows):
    """Returns the state after all these updates, and the losses of each.

    One call, so that the device waits for nothing between them.

    Args:
        update: As `one_update` returns it.
        state: The networks' state and the `u` of Keras's way.
        pictures: All, uint8.
        key: Which, with its number, all that an update draws depends on.
        numbers: Of the updates, `(updates,)`.
        rows: Of pictures, `(updates, discriminator steps, batch)`.
    """

    def step(state, drawn):
        number, rows = drawn
        images = pictures[rows]
        return update(state, jax.random.fold_in(key, number), images)

    return jax.lax.scan(step, state, (numbers, rows))


def one_update(generator, discriminator, g_optimizer, d_optimizer, loss, batch):
    """Returns a generator update after its discriminator updates.

    It is `(state, key, images)` to `(state, losses)`, as `train_jax`'s, of
    uint8 images `(discriminator steps, batch, height, width, channels)`.
    """
    d_update, g_update = train_jax.updates(
        generator,
        discriminator,
        g_optimizer,
        d_optimizer,
        loss,
        gradient_penalty if loss == "wasserstein" else None,
    )

    def of_discriminator(state, drawn):
        key, images = drawn
        keys = jax.random.split(key)
        networks_state, us = normalized(*state)
        images = jax_pictures.dequantized(images, keys[0])
        networks_state, found = d_update(networks_state, keys[1], images)
        return (networks_state, us), found

    def update(state, key, images):
        keys = jax.random.split(key, len(images) + 1)
        state, d_losses = jax.lax.scan(
            of_discriminator, state, (keys[1:], images)
        )
        # Keras's layer normalises in this pass too; as `GAN` has it, of what a
        # generator update does to the discriminator nothing is kept.
        judging, _ = normalized(*state)
        (g_state, _), g_loss = g_update(judging, keys[0], batch)
        (_, d_state), us = state
        return ((g_state, d_state), us), (d_losses[-1], g_loss)

    return update


def gradient_penalty(judge, real, fake, key):
    """Returns lambda * mean((|gradient|_2 - 1)^2), of WGAN-GP (Eq. 30)."""
    mix = jax.random.uniform(key, (len(real), 1, 1, 1))
    images = penalties.interpolate(real, fake, mix)
    gradients = jax.grad(lambda images: jnp.sum(judge(images)))(images)
    return PENALTY * penalties.gradient_penalty(gradients)


def initial_us(state, seed):
    """Returns Keras's random `u` of each kernel of the discriminator."""
    _, (weights, _, _) = state
    return tuple(
        keras.initializers.TruncatedNormal(stddev=0.02, seed=seed + i)(
            (1, kernel.shape[-1])
        )
        for i, kernel in enumerate(kernels(weights))
    )


def normalized(state, us):
    """Normalises the stored kernels as `keras.layers.SpectralNormalization`.

    On TensorFlow a training call of it assigns W / sigma to the trainable
    kernel, and the gradient is that in the kernel so assigned, none of it
    through sigma: this, then an ordinary step of the plain network. (On JAX a
    compiled step differentiates the assignment.)

    Args:
        state: Of both networks.
        us: A `u` for each kernel of the discriminator; if there are none,
            nothing is normalised.
    """
    if not us:
        return state, us
    g_state, (weights, others, slots) = state
    found = map(normalized_kernel, kernels(weights), us)
    new, us = zip(*found)
    new = iter(new)
    weights = [next(new) if w.ndim > 1 else w for w in weights]
    return (g_state, (weights, others, slots)), us


def normalized_kernel(kernel, u):
    """Returns `W / sigma` and `u`, `(1, outputs)`, after a power iteration.

    A kernel of zeros, and its `u`, stay as they are.
    """
    matrix = kernel.reshape(-1, kernel.shape[-1])
    v = unit(u @ matrix.T)
    new = unit(v @ matrix)
    sigma = v @ matrix @ new.T
    is_zero = jnp.all(kernel == 0)
    return (
        jnp.where(is_zero, kernel, kernel / sigma),
        jnp.where(is_zero, u, new),
    )


def unit(x):
    return keras.ops.normalize(x, axis=None)


def kernels(weights):
    return [weight for weight in weights if weight.ndim > 1]
