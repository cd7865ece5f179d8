"""Trains Table 3's SN-GAN on JAX: its layers and losses, a step of yours.

    python examples/train_jax.py

`GAN` trains on TensorFlow; all it is made of runs on any Keras backend. Here
its step is a pure function of the state, which JAX compiles as a whole: `u`
advances once per discriminator update (Algorithm 1), as it is in the new state
of a call with `training=True`, and not in the generator's, by
`power_iteration.paused`.
"""

import argparse
import functools
import os

os.environ["KERAS_BACKEND"] = "jax"

import jax
import keras

from sngan_tf import losses
from sngan_tf import networks
from sngan_tf.layers import power_iteration


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=16)
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--discriminator_steps", type=int, default=1)
    parser.add_argument("--updates", type=int, default=200)
    arguments = parser.parse_args()
    shape = (arguments.size, arguments.size, 1)
    pair = networks.build("cnn", shape, width=arguments.width)
    # Setting C of Table 1.
    optimizers = [keras.optimizers.Adam(2e-4, 0.5, 0.999) for _ in pair]
    state = initial_state(*pair, *optimizers)
    step = jax.jit(training_step(*pair, *optimizers), donate_argnums=0)
    counts = arguments.discriminator_steps, arguments.batch
    for update in range(arguments.updates):
        key, own = jax.random.split(jax.random.key(update))
        images = blobs(own, counts, arguments.size)
        state, (d_loss, g_loss) = step(state, key, images)
        if (update + 1) % 50 == 0 or update + 1 == arguments.updates:
            print(f"{update + 1}: d_loss {d_loss:.4f}, g_loss {g_loss:.4f}")
    keep(state, *pair)


def initial_state(generator, discriminator, *optimizers):
    """Returns `(weights, other variables, optimizer's)` of each network."""
    state = []
    for network, optimizer in zip((generator, discriminator), optimizers):
        weights, others = variables(network)
        optimizer.build(weights)
        held = weights, others, optimizer.variables
        state.append(jax.tree.map(lambda variable: variable.value, held))
    return tuple(state)


def training_step(
    generator, discriminator, g_optimizer, d_optimizer, generator_batch=None
):
    """Returns the step: `(state, key, images)` to `(state, losses)`.

    Its `images` are `(discriminator steps, batch, height, width, channels)` in
    [-1, 1]; losses are those of the last discriminator update and of the
    generator's, of `generator_batch` images, by default `batch`.
    """
    d_update, g_update = updates(
        generator, discriminator, g_optimizer, d_optimizer
    )

    def step(state, key, images):
        keys = jax.random.split(key, len(images) + 1)
        for real, key in zip(images, keys):
            state, loss = d_update(state, key, real)
        count = generator_batch or images.shape[1]
        state, last = g_update(state, keys[-1], count)
        return state, (loss, last)

    return step


def updates(
    generator,
    discriminator,
    g_optimizer,
    d_optimizer,
    loss="hinge",
    penalty=None,
):
    """Returns the discriminator's update, and the generator's.

    They are `(state, key, real images)` and `(state, key, number of images)` to
    `(state, loss)`.

    Args:
        generator: The model.
        discriminator: The model.
        g_optimizer: The generator's.
        d_optimizer: The discriminator's.
        loss: A name of `losses.LOSSES` that is not paired.
        penalty: `(judge, real, fake, key)` to a scalar that the discriminator's
            loss gets added, where `judge` is the logits of images, without a
            change of `u`; None for none.
    """
    loss = losses.get(loss)
    latent_dim = generator.inputs[0].shape[-1]

    def fakes(weights, others, key, count):
        latents = jax.random.normal(key, (count, latent_dim))
        return generator.stateless_call(weights, others, latents, training=True)

    def judge(weights, others, images):
        with power_iteration.paused():
            logits, _ = discriminator.stateless_call(
                weights, others, images, training=True
            )
        return logits

    def d_loss(weights, others, real, fake, key):
        images = jax.numpy.concatenate([real, fake])
        logits, new = discriminator.stateless_call(
            weights, others, images, training=True
        )
        found = loss.discriminator(*jax.numpy.split(logits, 2))
        if penalty:
            unchanged = functools.partial(judge, weights, new)
            found += penalty(unchanged, real, fake, key)
        return found, new

    def g_loss(weights, others, key, count, d_weights, d_others):
        images, others = fakes(weights, others, key, count)
        return loss.generator(judge(d_weights, d_others, images)), others

    d_gradients = jax.value_and_grad(d_loss, has_aux=True)
    g_gradients = jax.value_and_grad(g_loss, has_aux=True)

    def d_update(state, key, real):
        (g_weights, g_others, g_slots), (weights, others, slots) = state
        fake, g_others = fakes(g_weights, g_others, key, len(real))
        (found, others), gradients = d_gradients(
            weights, others, real, fake, jax.random.fold_in(key, 1)
        )
        weights, slots = d_optimizer.stateless_apply(slots, gradients, weights)
        g_state = g_weights, g_others, g_slots
        return (g_state, (weights, others, slots)), found

    def g_update(state, key, count):
        (weights, others, slots), d_state = state
        (found, others), gradients = g_gradients(
            weights, others, key, count, *d_state[:2]
        )
        weights, slots = g_optimizer.stateless_apply(slots, gradients, weights)
        return ((weights, others, slots), d_state), found

    return d_update, g_update


def keep(state, generator, discriminator):
    """Assigns a state to the networks, to save, `fold` or sample them."""
    for network, held in zip((generator, discriminator), state):
        jax.tree.map(
            lambda variable, value: variable.assign(value),
            variables(network),
            tuple(held[:2]),
        )


def variables(network):
    return network.trainable_variables, network.non_trainable_variables


def blobs(key, counts, size):
    """Returns pictures of one round spot each, `(*counts, size, size, 1)`."""
    centres = jax.random.uniform(key, (*counts, 1, 1, 2)) * size
    grid = jax.numpy.moveaxis(jax.numpy.indices((size, size)), 0, -1)
    distances = jax.numpy.sum((grid - centres) ** 2, axis=-1, keepdims=True)
    return 2 * jax.numpy.exp(-distances / size) - 1


if __name__ == "__main__":
    main()
