"""Frozen networks whose features and logits the metrics are taken from."""

import hashlib
import logging
import os
import pathlib

import keras
import numpy as np
from keras import layers

from sngan_tf import cache as cache_lib
from sngan_tf.errors import UserError
from sngan_tf.errors import first_line

_LOGGER = logging.getLogger(__name__)
_VERSION = 1
_BATCH_SIZE = 500


class Classifier:
    """A small classifier of the data set's own labels.

    Scores from it are comparable only with scores from the same weights, and
    never with those of Inception.

    Args:
        model: Keras model, uint8 images to `(features, logits)`.
        accuracy: Share of right answers on held-out pictures, 0..1.
    """

    def __init__(self, model, accuracy):
        self.model = model
        self.accuracy = accuracy
        weights = b"".join(w.tobytes() for w in model.get_weights())
        self.name = f"classifier-{hashlib.sha256(weights).hexdigest()[:12]}"

    def __call__(self, images):
        """Returns float32 `(n, d)` features and `(n, classes)` logits.

        Args:
            images: `(n, size, size, channels)`, uint8.
        """
        return self.model.predict(images, batch_size=_BATCH_SIZE, verbose=0)


def classifier(pictures, updates, cache=None):
    """Returns the `Classifier` of a data set, trained once and then cached.

    Four fifths of the pictures, a fixed choice, train it; the rest are held
    out to measure its accuracy.

    Args:
        pictures: `data.Pictures` with labels.
        updates: Updates to train it for, of 64 pictures each.
        cache: Folder to keep it in; by default `cache.directory()`.

    Raises:
        UserError: If the pictures have no labels or fewer than two classes.
    """
    if pictures.labels is None or len(pictures.class_names) < 2:
        raise UserError(
            "Scores need a data set with labels of two classes or more: they "
            "come from a classifier of them. Received: "
            f"{pictures.reference} with {len(pictures.class_names)} classes"
        )
    order = np.random.default_rng(0).permutation(len(pictures))
    held_out, training = np.split(order, [max(1, len(order) // 5)])
    cache = pathlib.Path(cache or cache_lib.directory())
    path = cache / f"classifier-{_key(pictures, updates)}.keras"
    model = _load(path)
    if model is None:
        model = _train(pictures, training, updates)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{os.getpid()}-{path.name}")
        model.save(temporary)
        os.replace(temporary, path)
    network = Classifier(model, accuracy=float("nan"))
    _, logits = network(pictures.images[held_out])
    right = np.argmax(logits, axis=1) == pictures.labels[held_out]
    network.accuracy = float(np.mean(right))
    return network


def _train(pictures, rows, updates):
    network = _network(pictures.images.shape[1:], len(pictures.class_names))
    logits = keras.Model(network.inputs, network.outputs[1])
    logits.compile(
        keras.optimizers.Adam(1e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    steps_per_epoch = max(1, len(rows) // 64)
    logits.fit(
        pictures.images[rows],
        pictures.labels[rows],
        batch_size=64,
        epochs=-(-updates // steps_per_epoch),
        verbose=0,
    )
    return network


def _network(image_shape, num_classes):
    images = keras.Input(image_shape, dtype="uint8", name="images")
    x = layers.Rescaling(1 / 127.5, -1.0)(images)
    x = layers.RandomTranslation(0.1, 0.1, fill_mode="nearest")(x)
    for maps in (32, 64):
        x = layers.Conv2D(maps, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Conv2D(64, 3, padding="same", activation="relu")(x)
    x = layers.Dropout(0.3)(layers.Flatten()(x))
    features = layers.Dense(64, activation="relu", name="features")(x)
    logits = layers.Dense(num_classes, name="logits")(
        layers.Dropout(0.3)(features)
    )
    return keras.Model(images, [features, logits], name="classifier")


def _key(pictures, updates):
    digest = hashlib.sha256(f"{_VERSION} {updates}".encode())
    digest.update(str(pictures.images.shape).encode())
    digest.update(np.ascontiguousarray(pictures.images).data)
    digest.update(pictures.labels.data)
    return digest.hexdigest()[:16]


def _load(path):
    if not path.exists():
        return None
    try:
        return keras.models.load_model(path)
    except Exception as error:  # whatever a damaged file raises
        _LOGGER.warning("%s is damaged, made anew: %s", path, first_line(error))
        return None
