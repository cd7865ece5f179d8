"""Keras callbacks of a GAN's training; they receive functions and know no file.

All count in generator updates, by `GAN.step`.
"""

import math
import time

import keras
from keras import ops

from sngan_tf import progress
from sngan_tf.errors import Interrupted
from sngan_tf.errors import UserError


class _StepCallback(keras.callbacks.Callback):
    """Knows the step without asking the device for it each time."""

    def on_train_begin(self, logs=None):
        self.step = int(ops.convert_to_numpy(self.model.step))

    def on_epoch_begin(self, epoch, logs=None):
        step = int(ops.convert_to_numpy(self.model.step))
        # The first execution of a GAN ends at a multiple of this.
        per_execution = getattr(self.model, "steps_per_execution", 1)
        self._origin = step // per_execution * per_execution

    def on_train_batch_end(self, batch, logs=None):
        self.step = self._origin + batch + 1


class StopOnNonFinite(_StepCallback):
    """Stops at the first loss that is not finite, with a UserError."""

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch)
        for name, value in logs.items():
            if not math.isfinite(value):
                raise UserError(
                    f"{name} is {float(value)} at update {self.step}; the last "
                    "checkpoint is kept"
                )


class Every(_StepCallback):
    """Calls a function of the step every so many updates, and at the end.

    Args:
        every: Updates between two calls; 0 never calls.
        function: `(step) -> None`.
        at_start: Whether to call it before the first update of a new run too.
    """

    def __init__(self, every, function, at_start=False):
        super().__init__()
        self.every = every
        self.function = function
        self.at_start = at_start
        self._last = None

    def on_train_begin(self, logs=None):
        super().on_train_begin()
        self._last = self.step
        if self.every and self.at_start and self.step == 0:
            self.function(0)

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch)
        if self.every and self.step % self.every == 0:
            self._call()

    def on_train_end(self, logs=None):
        if self.every and self.step != self._last:
            self._call()

    def _call(self):
        self._last = self.step
        self.function(self.step)


class TrainingLog(_StepCallback):
    """Hands mean losses and speed to a function every so many updates.

    The means go on from those of a restored model.

    Args:
        every: Updates between two calls.
        images_per_update: Real images that one generator update goes with.
        function: Receives `{"step", "d_loss", "g_loss", "images_per_second",
            "steps_per_second"}`; losses are means since the last call.
    """

    def __init__(self, every, images_per_update, function):
        super().__init__()
        self.every = every
        self.images_per_update = images_per_update
        self.function = function
        self._since = None
        self._restored = None

    def on_train_begin(self, logs=None):
        super().on_train_begin()
        self._since = None
        self._restored = [
            [ops.convert_to_numpy(v) for v in metric.variables]
            for metric in self.model.metrics
        ]

    def on_epoch_begin(self, epoch, logs=None):
        super().on_epoch_begin(epoch)
        # Keras has just reset them.
        for metric, values in zip(self.model.metrics, self._restored or []):
            for variable, value in zip(metric.variables, values):
                variable.assign(value)
        self._restored = None

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch)
        if self._since is None:
            # The first update traces the graph; speed counts from here.
            self._since = (self.step, time.monotonic())
        if self.step % self.every:
            return
        step, began = self._since
        seconds = time.monotonic() - began
        steps_per_second = (self.step - step) / seconds if seconds > 0 else 0.0
        self.function(
            {
                "step": self.step,
                **{name: float(value) for name, value in logs.items()},
                "images_per_second": steps_per_second * self.images_per_update,
                "steps_per_second": steps_per_second,
            }
        )
        self.model.reset_metrics()
        self._since = (self.step, time.monotonic())


class ProgressBar(_StepCallback):
    """Shows losses, images per second, updates per second and time left.

    Args:
        updates: Updates of the whole run.
        images_per_update: Real images that one generator update goes with.
    """

    def __init__(self, updates, images_per_update):
        super().__init__()
        self.updates = updates
        self.images_per_update = images_per_update
        self._bar = None

    def on_train_begin(self, logs=None):
        super().on_train_begin()
        self._bar = progress.bar(
            "training", self.updates, " updates", initial=self.step
        )

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch)
        rate = self._bar.format_dict["rate"] or 0.0
        losses = {name: f"{float(value):.3f}" for name, value in logs.items()}
        self._bar.set_postfix(
            **losses,
            images_per_s=f"{rate * self.images_per_update:.0f}",
            refresh=False,
        )
        self._bar.update(self.step - self._bar.n)

    def on_train_end(self, logs=None):
        self.close()

    def close(self):
        """Ends the bar's line; safe to call twice and before training."""
        if self._bar is not None:
            self._bar.close()


class StopOnSignal(_StepCallback):
    """Ends training with `Interrupted` after SIGTERM or Ctrl-C.

    Args:
        interrupts: `interrupts.Interrupts`, entered.
        save: `(step) -> None`, called before.
        gather: Function of an int to those of all hosts, as any may have got
            the signal; None for a single host.
    """

    def __init__(self, interrupts, save, gather=None):
        super().__init__()
        self.interrupts = interrupts
        self.save = save
        self.gather = gather

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch)
        number = self.interrupts.received
        if self.gather:
            number = max(self.gather(number))
        if number:
            self.save(self.step)
            raise Interrupted(
                number, f"saved after update {self.step}; run again to go on"
            )
