"""What every feature network is to those who score with it."""

from collections.abc import Callable
from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from sngan_tf import images as images_lib
from sngan_tf import progress
from sngan_tf import types


class FeatureNetwork:
    """A frozen network of pictures to features and logits.

    Attributes:
        kind: `"inception"` or `"classifier"`, which scores are named after.
        name: The kind with a hash of the weights.
        resize: What it does to pictures of another size.
        accuracy: Share, 0..1, of right answers on held-out pictures; None if
            it was not measured.

    Args:
        kind: As above.
        digest: Hexadecimal hash of the weights.
        outputs: Function of uint8 `(batch, height, width, channels)` to float32
            `(batch, d)` features and `(batch, classes)` logits.
        resize: As above.
        batch_size: Most pictures that go through it at once.
        full_side: Side of the largest pictures, in pixels, of which that many
            do; of larger ones as many as have as many pixels.
        accuracy: As above.
    """

    def __init__(
        self,
        kind: str,
        digest: str,
        outputs: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]],
        resize: str,
        batch_size: int,
        full_side: int = 32,
        accuracy: float | None = None,
    ):
        self.kind = kind
        self.name = f"{kind}-{digest[:12]}"
        self.resize = resize
        self._batch_size = batch_size
        self._full_side = full_side
        self.accuracy = accuracy
        # One graph for all batches and evaluations, or memory would grow.
        self._outputs = tf.function(outputs, reduce_retracing=True)

    def __call__(
        self,
        images: np.ndarray,
        what: str = "real pictures",
        show: bool = False,
        rows: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the features and logits of pictures, read batch by batch.

        Args:
            images: `(n, size, size, channels)`, uint8; an array, or what reads
                the pictures that it is indexed by.
            what: Name of the progress bar.
            show: Whether to show it.
            rows: Numbers of the pictures; by default those of all.
        """
        rows = np.arange(len(images)) if rows is None else rows
        size = self._size_at(images.shape[1])
        batches = (
            images[rows[i : i + size]] for i in range(0, len(rows), size)
        )
        return self.stream(batches, len(rows), what, show)

    def stream(
        self,
        batches: Iterable[types.Tensor],
        count: int,
        what: str = "generated pictures",
        show: bool = False,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns float32 `(count, d)` features and `(count, classes)` logits.

        Args:
            batches: Iterable of uint8 `(batch, size, size, channels)`, of
                `count` pictures in all. They go through in batches of the
                network's own size, of which one is held at a time.
            count: Number of pictures, positive.
            what: Name of the progress bar.
            show: Whether to show it.

        Raises:
            ValueError: If there are none, fewer or more pictures.
        """
        arrays = None
        end = 0
        with progress.bar(what, count, show=show) as bar:
            for images in self._rebatched(batches):
                start, end = end, end + len(images)
                if end > count:
                    break
                outputs = self._outputs(tf.convert_to_tensor(images))
                if arrays is None:
                    arrays = [
                        np.empty((count, output.shape[-1]), np.float32)
                        for output in outputs
                    ]
                for array, output in zip(arrays, outputs):
                    array[start:end] = output
                bar.update(len(images))
        if arrays is None or end != count:
            more = " or more" if end > count else ""
            raise ValueError(
                "`batches` must hold `count` pictures, at least one. "
                f"Received: count={count}, {end}{more} pictures"
            )
        features, logits = arrays
        return features, logits

    def _size_at(self, side):
        return images_lib.batch_size(self._batch_size, side, self._full_side)

    def _rebatched(self, batches):
        """Yields the same pictures in batches of the network's size."""
        parts, room = [], 0
        for images in batches:
            size = self._size_at(images.shape[1])
            while len(images):
                room = room or size
                parts.append(images[:room])
                images = images[room:]
                room -= len(parts[-1])
                if not room:
                    yield np.concatenate(parts)
                    parts = []
        if parts:
            yield np.concatenate(parts)
