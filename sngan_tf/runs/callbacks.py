"""Keras callbacks for `GAN.fit`; the command's own, for any training.

All count in generator updates, by `GAN.step`, and know no config.
"""

import math
import pathlib
import time
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from sngan_tf import files
from sngan_tf import progress
from sngan_tf import types
from sngan_tf.errors import Diverged
from sngan_tf.gan import sampler as sampler_lib
from sngan_tf.gan import step_callback
from sngan_tf.metrics import sources


def losses(model: keras.Model) -> dict[str, float]:
    """Returns `{name: value}`, the means so far; waits for all updates."""
    results = model.get_metrics_result()
    values = ops.convert_to_numpy(ops.stack([*results.values()]))
    return dict(zip(results, values.tolist()))


class StopOnNonFinite(step_callback.StepCallback):
    """Stops with a `Diverged`, a UserError, where a mean loss is not finite.

    It looks every so many updates and at the end of each epoch; a loss that
    was not finite before stays in the mean. Other callbacks that reset the
    means, or keep what was reached, come after it.

    Args:
        every: Updates between two looks, or several such numbers, of which
            any makes it look; 0 never does.
    """

    def __init__(self, every: int | Sequence[int] = 100):
        super().__init__()
        self.every = [*filter(None, keras.tree.flatten(every))]

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch)
        if any(self.step % every == 0 for every in self.every):
            self.check(self.step)

    def on_epoch_end(self, epoch, logs=None):
        # The next epoch resets the means, and a validation has already.
        names = {metric.name for metric in self.model.metrics}
        means = {name: logs[name] for name in names & {*(logs or {})}}
        self._check(means, self.step)

    def check(self, step: int) -> None:
        """Raises the error if a mean after `step` updates is not finite."""
        self._check(losses(self.model), step)

    def _check(self, means, step):
        for name, value in means.items():
            if not math.isfinite(value):
                raise Diverged(
                    f"{name} is {value} at update {step}; the last checkpoint "
                    "is kept"
                )


class Every(step_callback.StepCallback):
    """Calls a function of the step every so many updates, and at the end.

    Args:
        every: Updates between two calls; 0 never calls.
        function: `(step) -> None`.
        at_start: Whether to call it before the first update of a new run too.

    Raises:
        ValueError: On a negative number of updates.
    """

    def __init__(
        self,
        every: int,
        function: Callable[[int], object],
        at_start: bool = False,
    ):
        super().__init__()
        if every < 0:
            raise ValueError(
                f"`every` must be 0 or more. Received: every={every}"
            )
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


class SampleGrid(Every):
    """Writes `step_NNNNNNNN.png`, of the same latents each time.

    From before the first update on, and as training ends.

    Args:
        directory: Folder of the grids; it is made.
        every: Updates between two grids; 0 writes none.
        count: Pictures in a grid.
        seed: Of the latents.
        label: Class of all of them, if conditional; -1 all classes in turn.
        function: Receives the step and the grid, uint8
            `(height, width, channels)`; None for nobody.
    """

    def __init__(
        self,
        directory: types.Path,
        every: int = 1_000,
        count: int = 100,
        seed: int = 0,
        label: int = -1,
        function: Callable[[int, np.ndarray], object] | None = None,
    ):
        super().__init__(every, self.write, at_start=True)
        self.directory = pathlib.Path(directory)
        self.sampling = seed, count, label
        self.receiver = function

    def write(self, step: int) -> None:
        """Writes the grid of the model as it is after `step` updates."""
        images = self.model.sampler.many(*self.sampling)
        path = self.directory / f"step_{step:08d}.png"
        grid = sampler_lib.save_grid(path, images)
        if self.receiver:
            self.receiver(step, grid)


class Scores(Every):
    """Scores the GAN every so many updates, and as training ends.

    The latest values are in the logs at the end of each epoch, and so in the
    history of `fit`, under the metrics' names.

    Args:
        scorer: `metrics.scorer.Scorer`, or what has its `generated`.
        every: Updates between two scorings; 0 scores never.
        path: A file to which one JSON object is added for each score, as
            `scores.jsonl` of a workdir has them; None for no file.
        function: Receives the step and these rows, before they are written;
            None for nobody.
    """

    def __init__(
        self,
        scorer: sources.Scorer,
        every: int = 5_000,
        path: types.Path | None = None,
        function: Callable[[int, list[types.Row]], object] | None = None,
    ):
        super().__init__(every, self.score)
        self.scorer = scorer
        self.path = path and pathlib.Path(path)
        self.receiver = function
        self.latest: dict[str, float] = {}

    def score(self, step: int) -> None:
        """Scores the model as it is after `step` updates."""
        rows = self.scorer.generated(self.model.sampler, step)
        if not rows:
            return
        self.latest.update({row["metric"]: row["value"] for row in rows})
        if self.receiver:
            self.receiver(step, rows)
        if self.path:
            files.add_rows(self.path, rows)

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            logs.update(self.latest)


class TrainingLog(step_callback.StepCallback):
    """Hands mean losses and speed to a function every so many updates.

    The means go on from those of a restored model. They are read then alone.

    Args:
        every: Updates between two calls.
        images_per_update: Real images that one generator update goes with.
        function: Receives `{"step", "d_loss", "g_loss", "images_per_second",
            "steps_per_second"}`; losses are means since the last call.
    """

    def __init__(
        self,
        every: int,
        images_per_update: int,
        function: Callable[[dict[str, float]], object],
    ):
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
            # The first update traces the graph; speed counts from its end.
            losses(self.model)
            self._since = (self.step, time.monotonic())
        if self.step % self.every:
            return
        means = losses(self.model)
        step, began = self._since
        seconds = time.monotonic() - began
        steps_per_second = (self.step - step) / seconds if seconds > 0 else 0.0
        self.function(
            {
                "step": self.step,
                **means,
                "images_per_second": steps_per_second * self.images_per_update,
                "steps_per_second": steps_per_second,
            }
        )
        self.model.reset_metrics()
        self._since = (self.step, time.monotonic())


class ProgressBar(step_callback.StepCallback):
    """Shows losses, images per second, updates per second and time left.

    The losses are those of the first update, then those of `show`.

    Args:
        updates: Updates of the whole run.
        images_per_update: Real images that one generator update goes with.
    """

    def __init__(self, updates: int, images_per_update: int):
        super().__init__()
        self.updates = updates
        self.images_per_update = images_per_update
        self._bar = None
        self._losses: dict[str, str] = {}

    def on_train_begin(self, logs=None):
        super().on_train_begin()
        self._bar = progress.bar(
            "training", self.updates, " updates", initial=self.step
        )

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch)
        if not self._losses:
            self.show(losses(self.model))
        rate = self._bar.format_dict["rate"] or 0.0
        self._bar.set_postfix(
            **self._losses,
            images_per_s=f"{rate * self.images_per_update:.0f}",
            refresh=False,
        )
        self._bar.update(self.step - self._bar.n)

    def show(self, means: Mapping[str, float]) -> None:
        """Shows these losses, `{name: value}`, from now on."""
        self._losses = {name: f"{value:.3f}" for name, value in means.items()}

    def on_train_end(self, logs=None):
        self.close()

    def close(self) -> None:
        """Ends the bar's line; safe to call twice and before training."""
        if self._bar is not None:
            self._bar.close()
