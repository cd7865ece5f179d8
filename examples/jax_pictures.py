"""Pictures on JAX without TensorFlow: read, generated, written, scored.

Pixel ranges are those of `sngan_tf.images`: uint8 outside, float32 in [-1, 1]
inside.
"""

import concurrent.futures
import hashlib
import math

import jax
import keras
import numpy as np
from jax import numpy as jnp
from PIL import Image

from sngan_tf import files
from sngan_tf import metrics
from sngan_tf.errors import UserError
from sngan_tf.metrics import protocols
from sngan_tf.metrics import reference as reference_lib
from sngan_tf.metrics import scorer as scorer_lib

_AT_ONCE = 500
# On sixteen cores as many threads as cores took 25 s for 50,000 JPEGs, most of
# it to wait for one another.
_READERS = 4


def load(path):
    """Returns uint8 `(n, size, size, 3)` and their name in records.

    Args:
        path: An `.npz` that `pack` wrote, or a folder that it packs.

    Raises:
        UserError: If it is neither.
    """
    if path.is_dir():
        return read_folder(path)[0], f"folder:{path.resolve()}"
    try:
        with np.load(path) as archive:
            return archive["images"], str(archive["reference"])
    except (OSError, KeyError, ValueError) as error:
        raise UserError(
            "`pictures` must be a folder of class folders, or an .npz with "
            f"images and reference. Received: {path}"
        ) from error


def pack(folder, path):
    """Writes the pictures of a folder of class folders as an `.npz`.

    It holds `images`, `labels` and `reference`; deflated, as 50,000 pictures
    of 32 pixels are 150 MB.
    """
    images, labels = read_folder(folder)
    with files.replacing(path) as temporary:
        np.savez_compressed(
            temporary,
            images=images,
            labels=labels,
            reference=f"folder:{folder.resolve()}",
        )


def read_folder(folder):
    """Returns uint8 `(n, size, size, 3)` and int32 labels `(n,)`.

    Args:
        folder: Holds a folder for each class, of pictures of one size.

    Raises:
        UserError: If it holds no pictures, or of several sizes.
    """
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    paths = [(p, i) for i, c in enumerate(classes) for p in sorted(c.iterdir())]
    with concurrent.futures.ThreadPoolExecutor(_READERS) as pool:
        images = [*pool.map(_read, (path for path, _ in paths))]
    if len({image.shape for image in images}) != 1:
        raise UserError(
            "`pictures` must hold class folders of pictures of one size. "
            f"Received: {folder} with {len(images)} pictures"
        )
    return np.stack(images), np.array([i for _, i in paths], np.int32)


def _read(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def dequantized(images, key):
    """uint8 to float32: `x / 128 - 1` plus noise from [0, 1/128)."""
    # Nearer to 1, float32 would round some sums up to the next level.
    noise = jax.random.uniform(key, images.shape, maxval=1.0 - 2.0**-16)
    return (images.astype("float32") + noise) / 128.0 - 1.0


def to_uint8(images):
    """float32 in [-1, 1] to uint8, the exact inverse of `dequantized`."""
    levels = jnp.floor((images + 1.0) * 128.0)
    return jnp.clip(levels, 0.0, 255.0).astype("uint8")


def save_grid(path, images):
    """Writes the largest square grid that pictures fill, as a PNG."""
    side = math.isqrt(len(images))
    rows = np.asarray(images)[: side * side]
    rows = rows.reshape(side, side, *rows.shape[1:])
    grid = np.concatenate(np.concatenate(rows, axis=1), axis=1)
    with files.replacing(path) as temporary:
        Image.fromarray(grid).save(temporary)


def generation(generator):
    """Returns a function of a state's weights to uint8 pictures.

    `(weights, other variables, count)`; of equal weights the same pictures.
    One for all generators of a size, as it is compiled once.
    """

    @jax.jit
    def images_of(weights, others, latents):
        images, _ = generator.stateless_call(
            weights, others, latents, training=False
        )
        return to_uint8(images)

    def generate(weights, others, count):
        shape = count, generator.inputs[0].shape[-1]
        latents = jax.random.normal(jax.random.key(0), shape)
        return np.concatenate(
            [images_of(weights, others, part) for part in in_parts(latents)]
        )

    return generate


class Scorer:
    """Scores generated pictures by a classifier, by the protocol "quick".

    Args:
        path: Of the classifier, a `.keras` file: uint8 pictures to features
            and logits.
        images: Those trained on, uint8 `(n, size, size, 3)`.
        reference: Their name.
        count: Number of pictures that are scored, and at most as many real
            ones that distances are taken to.

    Raises:
        UserError: If the classifier takes other pictures.
    """

    def __init__(self, path, images, reference, count):
        self.count = count
        self._classifier = keras.models.load_model(path)
        if self._classifier.input_shape[1:] != images.shape[1:]:
            raise UserError(
                f"`classifier` must take pictures of shape {images.shape[1:]}. "
                f"Received: {path} of {self._classifier.input_shape[1:]}"
            )
        self._call = jax.jit(self._outputs)
        real, _ = reference_lib.choose(images, count, exact=False)
        features, _ = self._of(images[real])
        self._real = metrics.Moments.of(features)
        weights = self._classifier.get_weights()
        digest = hashlib.sha256(b"".join(w.tobytes() for w in weights))
        self._about = {
            "protocol": protocols.get("quick", count).name,
            "num_real": len(real),
            "num_fake": count,
            "reference": reference,
            "features": f"classifier-{digest.hexdigest()[:12]}",
            "resize": "none",
        }

    def rows(self, step, images):
        """Returns the records of generated pictures, as a run has them.

        Args:
            step: Generator updates.
            images: uint8 `(count, size, size, 3)`.
        """
        features, logits = self._of(images)
        distance = self._real.frechet_distance(metrics.Moments.of(features))
        found = {
            "score": (classifier_score(logits), {"num_real": 0}),
            "frechet_distance": (distance, {}),
        }
        return [
            {
                "step": step,
                "metric": scorer_lib.name_of(metric, "classifier"),
                "value": value,
                "std": None,
                **self._about,
                **counts,
            }
            for metric, (value, counts) in found.items()
        ]

    def _of(self, images):
        parts = [self._call(part) for part in in_parts(images)]
        return tuple(map(np.concatenate, zip(*parts)))

    def _outputs(self, images):
        # Of whatever precision is trained in, scores are of one.
        with jax.default_matmul_precision("float32"):
            return self._classifier(images, training=False)


def in_parts(array):
    """Yields parts of an array that go through a network at once."""
    for start in range(0, len(array), _AT_ONCE):
        yield array[start : start + _AT_ONCE]


def classifier_score(logits):
    """exp(E KL(p(y|x) || p(y))), Inception's formula, in float64.

    Args:
        logits: `(n, classes)`.
    """
    logits = np.asarray(logits, np.float64)
    logits = logits - logits.max(axis=1, keepdims=True)
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    shares = np.exp(logs)
    # Where a class has no share at all, 0 log 0 = 0.
    means = np.log(np.maximum(shares.mean(axis=0), np.finfo(float).tiny))
    return float(np.exp(np.mean(np.sum(shares * (logs - means), axis=1))))
