"""A model while it is served: loaded, warmed up, asked, let go of."""

import asyncio
import contextlib
import logging

import numpy as np

from sngan_tf.server import batching
from sngan_tf.server import drawing
from sngan_tf.server import judging
from sngan_tf.server import meters as meters_lib
from sngan_tf.server import models
from sngan_tf.server.limits import Limits
from sngan_tf.server.problems import Problem
from sngan_tf.server.problems import later

_LOGGER = logging.getLogger(__name__)


class Service:
    """What the routes share.

    Args:
        load: Function that returns the `models.Model`.
        limits: `Limits`.
        on_failure: Called with the exception if it can't be loaded.

    Attributes:
        limits: As given.
        meters: `meters.Meters`.
        batcher: `batching.Batcher`.
        judge: `judging.Judge`.
    """

    def __init__(self, load, limits=None, on_failure=None):
        self.limits = limits or Limits()
        self.meters = meters_lib.Meters()
        self.batcher = batching.Batcher(self.limits, self.meters)
        self.judge = judging.Judge(self)
        self._load = load
        self._on_failure = on_failure or (lambda error: None)
        self._model = None
        self._is_ready = False

    @contextlib.asynccontextmanager
    async def running(self):
        """A context in which it loads its model, and then answers."""
        async with self.batcher.working():
            starting = asyncio.create_task(self._start())
            try:
                yield
            finally:
                starting.cancel()

    async def _start(self):
        try:
            self._model = await self.batcher.in_thread(self._load)
            await self.batcher.in_thread(self._warm_up)
        except Exception as error:
            self._on_failure(error)
            return
        self._is_ready = True
        self.meters.serves(self._model.name, self._model.version)
        _LOGGER.info(
            "%s, version %s, is ready", self._model.name, self._model.version
        )
        await self.judge.prepare()

    def _warm_up(self):
        signatures = [self._model.signatures.get(models.DEFAULT_SIGNATURE)]
        signatures.append(self._model.discriminator)
        self.batcher.batch = min(self.limits.batch, self.max_count)
        for signature in filter(None, signatures):
            batching.warm_up(signature, self.batcher.batch)

    @property
    def is_ready(self):
        return self._is_ready

    @property
    def model(self):
        """The `models.Model`.

        Raises:
            Problem: 503 until it is there.
        """
        if self._model is None:
            raise later("The model is not loaded yet; try again")
        return self._model

    @property
    def generator(self):
        """The same.

        Raises:
            Problem: 404 if it is none that makes pictures.
        """
        if not self.model.makes_pictures:
            raise Problem(
                404, f"{self.model.name} is no generator that sngan_tf exported"
            )
        return self.model

    @property
    def max_count(self):
        """The most rows or pictures of a request."""
        if self._model is None or not self._model.makes_pictures:
            return self.limits.pictures
        return self.limits.max_count(self._model.image_shape[0])

    @property
    def max_frames(self):
        """The most frames of an animation, one way."""
        return min(self.limits.frames, self.max_count)

    def check_counts(self, inputs):
        """Refuses more rows, or a higher `count`, than a request may have.

        Args:
            inputs: `{name: array}`.

        Raises:
            Problem: 400.
        """
        for name, array in inputs.items():
            count = len(array) if array.ndim else 0
            if name == "count" and not array.ndim:
                count = int(array)
            if count > self.max_count:
                what = "rows of " if array.ndim else ""
                raise Problem(
                    400,
                    f"{what}`{name}` must be at most {self.max_count}. "
                    f"Received: {count}",
                )

    def check_label(self, label):
        """Raises a `Problem` on the number of no class."""
        classes = self.generator.num_classes
        if not 0 <= label < classes:
            rule = f"in [0, {classes})" if classes else "left out"
            raise Problem(
                400, f"`label` must be {rule}. Received: label={label}"
            )

    def inputs(self, seed, count, label=None, truncation=1.0):
        """Returns latents and labels, None of an unconditional generator.

        Those of `--mode=sample`, where the truncation is 1.

        Args:
            seed: A whole number.
            count: How many.
            label: Class of all; None for all classes in turn.
            truncation: Factor of the latents.
        """
        model = self.generator
        if label is not None:
            self.check_label(label)
        latents = drawing.latents(seed, count, model.latent_dim, truncation)
        if not model.num_classes:
            return latents, None
        if label is None:
            labels = np.arange(count, dtype=np.int32) % model.num_classes
        else:
            labels = np.full(count, label, np.int32)
        return latents, labels

    async def pictures(self, latents, labels):
        """Returns uint8 pictures, the same of the same whoever else asks.

        Args:
            latents: float32 `(count, latent_dim)`.
            labels: int32 `(count,)`, or None.
        """
        inputs = {"latents": latents}
        if labels is not None:
            inputs["labels"] = labels
        signature = self.generator.signatures[models.DEFAULT_SIGNATURE]
        outputs = await self.batcher.run(signature, inputs, alone=True)
        return outputs["images"]
