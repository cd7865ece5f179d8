"""`GAN` on TensorFlow: of any method, and with Keras's own layer."""

import dataclasses
import itertools
import math
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ["KERAS_BACKEND"] = "tensorflow"

import arithmetic
import keras
import numpy as np
import tensorflow as tf

import contestants
from sngan_tf import GAN
from sngan_tf import SpectralNormalization
from sngan_tf import networks
from sngan_tf.gan import adam
from sngan_tf.gan import methods


def build(cell, threads, method="spectral_norm"):
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    # As the command has it, see `runs.build.set_up`.
    tf.config.optimizer.set_experimental_options({"remapping": False})
    strategy = _strategy(cell.replicas)
    with strategy.scope():
        if method == "shipped":
            gan, cell = _shipped(cell)
            callbacks = []
        else:
            row = _method(method, cell.power_iterations)
            gan = _gan(cell, row)
            callbacks = row.callbacks()
    return contestants.Built(
        _run(gan, strategy, cell, callbacks),
        tuple(
            sum(int(np.prod(w.shape)) for w in network.trainable_weights)
            for network in (gan.generator, gan.discriminator)
        ),
        None if _has_uncounted(gan, callbacks) else _flop(gan, cell),
        cycle=math.lcm(*(callback.every for callback in callbacks)),
    )


def _has_uncounted(gan, callbacks):
    """Returns whether `arithmetic` leaves out work of a step."""
    # The passes of a gradient penalty, and decompositions.
    return gan.gradient_penalty or gan.zero_centered_penalty or callbacks


def _flop(gan, cell):
    return arithmetic.step(
        gan.generator,
        gan.discriminator,
        cell.batch_size,
        cell.discriminator_steps,
        cell.generator_batch_size,
    )


def _gan(cell, method):
    if cell.network == "fidelity":
        from contestants import fidelity

        pair = fidelity.build(cell.image_shape, cell.width, method)
    else:
        pair = networks.build(
            cell.network, cell.image_shape, width=cell.width, method=method
        )
    gan = GAN(
        *pair,
        loss="hinge" if "hinge" in method.losses else method.losses[0],
        discriminator_steps=cell.discriminator_steps,
        generator_batch_size=cell.generator_batch_size,
        **method.arguments,
    )
    gan.compile(
        generator_optimizer=adam.Adam(*cell.adam),
        discriminator_optimizer=adam.Adam(*cell.adam),
    )
    return gan


def _method(name, power_iterations):
    if name == "keras":
        return methods.Method(
            layer=lambda layer, _: keras.layers.SpectralNormalization(
                layer, power_iterations
            )
        )
    if name == "spectral_norm" and power_iterations > 1:
        return methods.Method(
            layer=lambda layer, _: SpectralNormalization(
                layer, power_iterations
            )
        )
    return methods.get(name)


def _shipped(cell):
    """Returns the `GAN` of the digits' config, and its `Cell`."""
    from configs import digits
    from sngan_tf.runs import build as runs_build

    config = digits.get_config()
    config.data.channels = cell.channels
    return runs_build.gan(config), dataclasses.replace(
        cell,
        image_size=config.data.image_size,
        width=config.network.width,
        batch_size=config.data.batch_size,
        generator_batch_size=(
            config.generator_batch_size or config.data.batch_size
        ),
        discriminator_steps=config.discriminator_steps,
    )


def _run(gan, strategy, cell, callbacks):
    """Returns a function of a number of steps, as `fit` does them.

    With what the method's callbacks do after each, which is part of its time.
    """
    count = cell.discriminator_steps * cell.batch_size
    images = np.random.default_rng(0).uniform(-1, 1, (count, *cell.image_shape))
    # One batch that lies ready: the time is that of the steps.
    dataset = tf.data.Dataset.from_tensor_slices(images.astype(np.float32))
    dataset = dataset.batch(count, drop_remainder=True).cache().repeat()
    batches = iter(strategy.experimental_distribute_dataset(dataset))
    gan.make_train_function()
    for callback in callbacks:
        callback.set_model(gan)
        callback.on_train_begin()
        callback.on_epoch_begin(0)
    done = itertools.count()

    def run(steps):
        for _ in range(steps):
            losses = gan.train_function(batches)
            batch = next(done)
            for callback in callbacks:
                callback.on_train_batch_end(batch)
        return {name: float(loss) for name, loss in losses.items()}

    return run


def _strategy(replicas):
    if replicas == 1:
        return tf.distribute.get_strategy()
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * replicas,
    )
    return tf.distribute.MirroredStrategy(
        [f"/cpu:{i}" for i in range(replicas)]
    )
