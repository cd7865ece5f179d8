"""The step of `examples/train_jax.py`, compiled by XLA."""

import os

os.environ["KERAS_BACKEND"] = "jax"

import math
import sys

import machine

import contestants

sys.path.append(str(machine.ROOT / "examples"))

import jax
import keras
import train_jax

from sngan_tf import networks


def build(cell, threads):
    # XLA has a thread for each processor that it may run on.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    pair = networks.build(cell.network, cell.image_shape, width=cell.width)
    optimizers = [keras.optimizers.Adam(*cell.adam) for _ in pair]
    kept = {"state": train_jax.initial_state(*pair, *optimizers), "count": 0}
    step = jax.jit(
        train_jax.training_step(*pair, *optimizers, cell.generator_batch_size),
        donate_argnums=0,
    )
    shape = (cell.discriminator_steps, cell.batch_size, *cell.image_shape)
    images = jax.random.uniform(jax.random.key(1), shape, minval=-1.0)

    def run(steps):
        for _ in range(steps):
            key = jax.random.fold_in(jax.random.key(0), kept["count"])
            kept["state"], losses = step(kept["state"], key, images)
            kept["count"] += 1
        return dict(zip(("d_loss", "g_loss"), map(float, losses)))

    return contestants.Built(
        run,
        tuple(
            sum(math.prod(w.shape) for w in network.trainable_weights)
            for network in pair
        ),
    )
