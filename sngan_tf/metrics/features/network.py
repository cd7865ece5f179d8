"""What every feature network is to those who score with it."""

import numpy as np
import tensorflow as tf

from sngan_tf import progress


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
        batch_size: Pictures that go through it at once.
        accuracy: As above.
    """

    def __init__(
        self, kind, digest, outputs, resize, batch_size, accuracy=None
    ):
        self.kind = kind
        self.name = f"{kind}-{digest[:12]}"
        self.resize = resize
        self.batch_size = batch_size
        self.accuracy = accuracy
        # One graph for all batches and evaluations, or memory would grow.
        self._outputs = tf.function(outputs, reduce_retracing=True)

    def __call__(self, images, what="real pictures", show=False):
        """Returns the features and logits of an array of pictures.

        Args:
            images: `(n, size, size, channels)`, uint8.
            what: Name of the progress bar.
            show: Whether to show it.
        """
        batches = (
            images[i : i + self.batch_size]
            for i in range(0, len(images), self.batch_size)
        )
        return self.stream(batches, len(images), what, show)

    def stream(self, batches, count, what="generated pictures", show=False):
        """Returns float32 `(count, d)` features and `(count, classes)` logits.

        Args:
            batches: Iterable of uint8 `(batch, size, size, channels)`, of
                `count` pictures in all, of which one is held at a time.
            count: Number of pictures.
            what: Name of the progress bar.
            show: Whether to show it.
        """
        features = logits = None
        end = 0
        with progress.bar(what, count, show=show) as bar:
            for images in batches:
                outputs = self._outputs(tf.convert_to_tensor(images))
                start, end = end, end + len(images)
                if features is None:
                    features, logits = (
                        np.empty((count, output.shape[-1]), np.float32)
                        for output in outputs
                    )
                features[start:end], logits[start:end] = outputs
                bar.update(len(images))
        return features, logits
