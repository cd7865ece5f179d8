"""A Keras model of two networks: its optimizers, and how `fit` runs it."""

from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any
from typing import Literal

import keras
import tensorflow as tf

from sngan_tf.gan import checks
from sngan_tf.gan import execution
from sngan_tf.layers import kernels


class Trainer(keras.Model):
    """What Keras's loops ask of a GAN, beside its two steps.

    A subclass has `generator`, `discriminator`, a variable `step` that counts
    generator updates, and `batch`, and calls `keep_means`.
    """

    # Whether the next batch is to be looked at.
    unseen = False
    # Whether Keras reads the losses of each execution, for its callbacks.
    logs_are_read = True

    def keep_means(self, names: Iterable[str]) -> None:
        """Makes a metric of each name, of which a step reports all."""
        self._means = {name: execution.Mean(name) for name in names}

    @property
    def metrics(self):
        return list(self._means.values())

    def report(self, losses: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns the means so far, with these losses of a replica."""
        for name, loss in execution.mean_over_replicas(losses).items():
            self._means[name].update_state(loss)
        return {name: mean.result() for name, mean in self._means.items()}

    def compile(
        self,
        generator_optimizer: keras.optimizers.Optimizer | str,
        discriminator_optimizer: keras.optimizers.Optimizer | str,
        auto_scale_loss: bool = True,
        jit_compile: bool | Literal["auto"] = "auto",
        **kwargs: Any,
    ) -> None:
        """Sets the optimizers.

        With `steps_per_execution` an execution ends where `step` is a multiple
        of it.

        Args:
            generator_optimizer: Keras optimizer, or the name of one.
            discriminator_optimizer: Another one.
            auto_scale_loss: Whether to scale the losses where a network
                computes in float16, as Keras does.
            jit_compile: Whether to compile a step with XLA; False on several
                replicas. "auto": on one that is no CPU.
            **kwargs: `run_eagerly` and `steps_per_execution`, as of Keras.

        Raises:
            ValueError: If the two optimizers are one, or on `jit_compile` on
                several replicas.
        """
        replicas = self.distribute_strategy.num_replicas_in_sync
        if jit_compile is True and replicas > 1:
            raise ValueError(
                "`jit_compile` must be False on several replicas, as "
                "TensorFlow compiles for one device at a time. Received: "
                f"jit_compile=True, {replicas} replicas"
            )
        optimizers = [
            keras.optimizers.get(optimizer)
            for optimizer in (generator_optimizer, discriminator_optimizer)
        ]
        if optimizers[0] is optimizers[1]:
            raise ValueError(
                "`generator_optimizer` and `discriminator_optimizer` must be "
                "two, each with a state of its own. Received: the same "
                f"{type(optimizers[0]).__name__}"
            )
        super().compile(optimizer=None, jit_compile=jit_compile, **kwargs)
        self.auto_scale_loss = auto_scale_loss
        # As it was given, since another machine may decide otherwise.
        self._jit_compile_argument = jit_compile
        if auto_scale_loss and self._has_float16():
            optimizers = [execution.scaling(each) for each in optimizers]
        self.generator_optimizer, self.discriminator_optimizer = optimizers
        optimizers[0].build(self.generator.trainable_variables)
        optimizers[1].build(self.discriminator.trainable_variables)

    def _has_float16(self):
        networks = (self.generator, self.discriminator)
        return any(
            layer.compute_dtype == "float16"
            for network in networks
            for layer in kernels.sublayers(network)
        )

    def get_compile_config(self):
        if not self.compiled:
            return {}
        serialize = keras.saving.serialize_keras_object
        return {
            "generator_optimizer": serialize(self.generator_optimizer),
            "discriminator_optimizer": serialize(self.discriminator_optimizer),
            "auto_scale_loss": self.auto_scale_loss,
            "jit_compile": self._jit_compile_argument,
            "run_eagerly": self.run_eagerly,
            "steps_per_execution": self.steps_per_execution,
        }

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))

    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        verbose="auto",
        callbacks=None,
        **kwargs,
    ):
        """Trains as Keras does, after a look at the first batch.

        Losses are read after each execution, which waits for it, only for
        Keras's own progress bar and for callbacks that act at its end, unless
        these say `reads_logs = False`; such get no logs there.
        """
        self.unseen = True
        callbacks = [callbacks] if callbacks is not None else []
        callbacks = [*keras.tree.flatten(callbacks), checks.WholeExecutions()]
        self.logs_are_read = verbose not in (0, 2) or any(
            map(_reads_logs, callbacks)
        )
        try:
            return super().fit(
                x, y, batch_size, epochs, verbose, callbacks, **kwargs
            )
        finally:
            self.logs_are_read = True

    def evaluate(self, *args, **kwargs):
        """Tests as Keras does, after a look at the first batch."""
        self.unseen = True
        return super().evaluate(*args, **kwargs)

    def train_on_batch(self, *args, **kwargs):
        """Trains on one batch as Keras does, after a look at it."""
        self.unseen = True
        return super().train_on_batch(*args, **kwargs)

    def test_on_batch(self, *args, **kwargs):
        """Tests on one batch as Keras does, after a look at it."""
        self.unseen = True
        return super().test_on_batch(*args, **kwargs)

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Does nothing, as all is built.

        Keras would take the mean of a first batch over the replicas, which
        several hosts can't of bytes.
        """

    def make_train_function(self, force=False):
        if self.train_function is None or force:
            self.train_function = execution.train_function(self)

    def make_test_function(self, force=False):
        if self.test_function is None or force:
            self.test_function = execution.test_function(self)


def _reads_logs(callback):
    """Returns whether a callback may look at the logs of an execution."""
    acts = any(
        getattr(getattr(callback, name), "__func__", None)
        is not getattr(keras.callbacks.Callback, name)
        for name in ("on_train_batch_end", "on_batch_end")
    )
    return acts and getattr(callback, "reads_logs", True)
