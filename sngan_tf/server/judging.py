"""What the discriminator thinks of a picture, beside what is generated."""

import numpy as np

from sngan_tf.server.problems import Problem
from sngan_tf.server.problems import later

GENERATED = 1_000
_SEED = 0


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
        """Judges `GENERATED` pictures, a batch after another."""
        model = self._service.model
        if model.discriminator is None or not model.makes_pictures:
            return
        latents, labels = self._service.inputs(_SEED, GENERATED)
        size = min(self._service.limits.batch, self._service.max_count)
        found = []
        for i in range(0, GENERATED, size):
            part = slice(i, i + size)
            images = await self._service.pictures(
                latents[part], None if labels is None else labels[part]
            )
            found.append(
                await self._logits(
                    images, None if labels is None else labels[part]
                )
            )
        self._generated = np.sort(np.concatenate(found))

    async def opinion(self, image, label=None):
        """Returns the `logit` of a picture, and how that is to be read.

        Args:
            image: uint8, of the model's shape.
            label: Class that it is said to be of, of a conditional
                discriminator; by default that which suits it best.

        Raises:
            Problem: 404 without a discriminator, 400 on another label.
        """
        model = self._service.model
        if model.discriminator is None:
            raise Problem(
                404, f"{model.name} was exported without its discriminator"
            )
        if not self.is_ready:
            raise later("The discriminator is not ready yet; try again")
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
