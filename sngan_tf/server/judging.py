"""What the discriminator thinks of a picture, beside what is generated."""

import asyncio
import logging

import numpy as np

from sngan_tf.server.problems import Problem
from sngan_tf.server.problems import later

_LOGGER = logging.getLogger(__name__)
GENERATED = 1_000
_SEED = 0
_BUSY = (503, 504)


class Judge:
    """A discriminator, and the logits of generated pictures.

    Args:
        service: `service.Service`, its model there.
    """

    def __init__(self, service):
        self._service = service
        self._generated = None

    @property
    def is_ready(self):
        return self._generated is not None

    async def prepare(self):
        """Judges `GENERATED` pictures, when there is time for them."""
        model = self._service.model
        if model.discriminator is None or not model.makes_pictures:
            return
        latents, labels = self._service.inputs(_SEED, GENERATED)
        size = self._service.batcher.batch
        found = []
        while len(found) * size < GENERATED:
            part = slice(len(found) * size, (len(found) + 1) * size)
            of_part = None if labels is None else labels[part]
            try:
                images = await self._service.pictures(latents[part], of_part)
                found.append(await self._logits(images, of_part))
            except Problem as problem:
                if problem.status not in _BUSY:
                    _LOGGER.error("The discriminator can't judge: %s", problem)
                    return
                await asyncio.sleep(1)
        self._generated = np.sort(np.concatenate(found))

    def check(self):
        """Raises a `Problem`: 404 without a discriminator, 503 until ready."""
        model = self._service.model
        if model.discriminator is None:
            raise Problem(
                404, f"{model.name} was exported without its discriminator"
            )
        if not self.is_ready:
            raise later("The discriminator is not ready yet; try again")

    async def opinion(self, image, label=None):
        """Returns the `logit` of a picture, and how that is to be read.

        Args:
            image: uint8, of the model's shape.
            label: Class that it is said to be of, of a conditional
                discriminator; by default that which suits it best.

        Raises:
            Problem: As of `check`, and 400 on another label.
        """
        self.check()
        labels = self._labels(label)
        images = np.repeat(image[np.newaxis], len(labels), axis=0)
        logits = await self._logits(images, labels)
        logit = float(np.max(logits))
        below = np.searchsorted(self._generated, logit, "left")
        return {
            "logit": logit,
            # The same as sigmoid, which large ones would overflow.
            "score": float(0.5 * (1 + np.tanh(logit / 2))),
            "of_generated": float(below / len(self._generated)),
        }

    def _labels(self, label):
        classes = self._service.model.num_classes
        if label is None:
            return np.arange(max(classes, 1), dtype=np.int32)
        self._service.check_label(label)
        return np.int32([label])

    async def _logits(self, images, labels):
        signature = self._service.model.discriminator
        inputs = {"images": images}
        if "labels" in signature.inputs:
            inputs["labels"] = labels
        outputs = await self._service.batcher.run(signature, inputs)
        return outputs["logits"][:, 0]
