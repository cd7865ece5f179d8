"""A classifier of the data set's own labels, where there is no Inception."""

import contextlib
import hashlib
import logging
import pathlib

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from sngan_tf import files
from sngan_tf import progress
from sngan_tf import types
from sngan_tf.errors import UserError
from sngan_tf.errors import first_line
from sngan_tf.metrics import sources
from sngan_tf.metrics.features.network import FeatureNetwork

_LOGGER = logging.getLogger(__name__)
_VERSION = 3
_BATCH_SIZE = 500
_TRAINING_BATCH_SIZE = 64
_LARGEST_SIDE = 32
_MOST_MEASURED = 10_000


def load_classifier(
    pictures: sources.Pictures, updates: int, cache: types.Path | None = None
) -> FeatureNetwork:
    """Returns a classifier of a data set, trained once and then cached.

    Four fifths of the pictures, a fixed choice, train it; the rest are held
    out, and up to 10,000 of them measure its accuracy each time. They are read
    batch by batch. Scores from it are comparable only with scores from the same
    weights, and never with those of Inception.

    Args:
        pictures: `data.Pictures` with labels.
        updates: Updates to train it for, of 64 pictures each, rounded up to
            whole epochs.
        cache: Folder to keep it in; by default `files.cache_directory()`.

    Returns:
        A `FeatureNetwork` with its `accuracy`.

    Raises:
        UserError: If the pictures have no labels or fewer than two classes.
    """
    if pictures.labels is None or len(pictures.class_names) < 2:
        raise UserError(
            "A classifier that scores needs a data set with labels of two "
            "classes or more, which evaluation.features=inception does not, "
            "nor a saved one of evaluation.classifier. Received: "
            f"{pictures.reference} with {len(pictures.class_names)} classes"
        )
    _, training = split_rows(len(pictures))
    cache = pathlib.Path(cache or files.cache_directory())
    path = cache / f"classifier-{_key(pictures, updates)}.keras"

    def make():
        model = _train(pictures, training, updates)
        with files.replacing(path) as temporary:
            model.save(temporary)
        return model

    network = frozen(files.made_once(path, lambda: _load(path), make))
    network.accuracy = accuracy(network, pictures)
    return network


def split_rows(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the row numbers that are held out, and those that train."""
    order = np.random.default_rng(0).permutation(count)
    held_out = max(1, count // 5)
    return order[:held_out], order[held_out:]


def accuracy(network: sources.Network, pictures: sources.Pictures) -> float:
    """Returns the share, 0..1, of right answers on pictures held out.

    Up to 10,000 of those that `load_classifier` leaves out of training.

    Args:
        network: `FeatureNetwork` with a logit for each class, in their order.
        pictures: `data.Pictures` with labels.

    Raises:
        ValueError: If they have none.
    """
    if pictures.labels is None:
        raise ValueError(
            "`pictures` must have labels. "
            f"Received: {pictures.reference} without any"
        )
    rows = split_rows(len(pictures))[0][:_MOST_MEASURED]
    _, logits = network(pictures.images, rows=rows)
    right = np.argmax(logits, axis=1) == pictures.labels[rows]
    return float(np.mean(right))


def frozen(model: keras.Model) -> FeatureNetwork:
    """Returns the `FeatureNetwork` of a classifier, named after its weights.

    Args:
        model: Keras model of uint8 pictures to features and logits.
    """
    resized = [x for x in model.layers if isinstance(x, layers.Resizing)]
    return FeatureNetwork(
        "classifier",
        hashlib.sha256(
            b"".join(weight.tobytes() for weight in model.get_weights())
        ).hexdigest(),
        lambda images: model(images, training=False),
        f"{resized[0].interpolation} to {resized[0].height}"
        if resized
        else "none",
        _BATCH_SIZE,
    )


def _train(pictures, rows, updates):
    keras.utils.set_random_seed(0)
    network = _network(pictures.images.shape[1:], len(pictures.class_names))
    logits = _of_rows(network, pictures.images)
    steps_per_epoch = -(-len(rows) // _TRAINING_BATCH_SIZE)
    epochs = -(-updates // steps_per_epoch)
    updates = epochs * steps_per_epoch
    warmup = updates // 6
    logits.compile(
        keras.optimizers.AdamW(
            keras.optimizers.schedules.CosineDecay(
                1e-4, updates - warmup, warmup_target=3e-3, warmup_steps=warmup
            ),
            weight_decay=0.05,
        ),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,
    )
    bar = progress.bar("classifier, whole epochs", updates, unit=" updates")
    with bar, _reading(pictures.images):

        def show(batch, logs):
            bar.set_postfix(accuracy=f"{logs['accuracy']:.3f}", refresh=False)
            bar.update()

        logits.fit(
            rows,
            pictures.labels[rows],
            batch_size=_TRAINING_BATCH_SIZE,
            epochs=epochs,
            verbose=0,
            callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=show)],
        )
    return network


def _of_rows(network, images):
    """Returns a model of row numbers to the logits of these images."""
    shape = images.shape[1:]

    def read(rows):
        batch = tf.numpy_function(lambda rows: images[rows], [rows], tf.uint8)
        return tf.ensure_shape(batch, (None, *shape))

    rows = keras.Input((), dtype="int64")
    batch = layers.Lambda(read, output_shape=shape, dtype="uint8")(rows)
    return keras.Model(rows, network(batch)[1])


@contextlib.contextmanager
def _reading(images):
    """Names a picture that can't be read, not the operation that read it."""
    try:
        yield
    except tf.errors.OpError as error:
        if unreadable := getattr(images, "error", None):
            raise unreadable from error
        raise


def _network(image_shape, num_classes):
    images = keras.Input(image_shape, dtype="uint8", name="images")
    x = layers.Rescaling(1 / 127.5, -1.0)(images)
    if image_shape[0] > _LARGEST_SIDE:
        x = layers.Resizing(_LARGEST_SIDE, _LARGEST_SIDE, antialias=True)(x)
    x = layers.RandomTranslation(
        0.125, 0.125, fill_mode="nearest", interpolation="nearest"
    )(x)
    if image_shape[-1] == 3:
        # Gray sets are often of characters, which have no mirror images.
        x = layers.RandomFlip("horizontal")(x)
    x = _convolution(x, 24)
    x = layers.MaxPooling2D(padding="same")(x)
    x = _convolution(x, 48)
    x = layers.MaxPooling2D(padding="same")(x)
    x = _convolution(_convolution(x, 96), 96)
    x = layers.MaxPooling2D(padding="same")(x)
    x = _convolution(x, 192)
    features = layers.GlobalAveragePooling2D(name="features")(x)
    logits = layers.Dense(num_classes, name="logits")(features)
    return keras.Model(images, [features, logits], name="classifier")


def _convolution(x, maps):
    x = layers.Conv2D(maps, 3, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(momentum=0.9)(x)
    return layers.ReLU()(x)


def _key(pictures, updates):
    digest = hashlib.sha256(f"{_VERSION} {updates}".encode())
    digest.update(str(pictures.images.shape).encode())
    for part in pictures.identity():
        digest.update(part)
    digest.update(np.ascontiguousarray(pictures.labels).data)
    return digest.hexdigest()[:16]


def _load(path):
    if not path.exists():
        return None
    try:
        return keras.models.load_model(path)
    except Exception as error:  # whatever a damaged file raises
        _LOGGER.warning("%s is damaged, made anew: %s", path, first_line(error))
        return None
