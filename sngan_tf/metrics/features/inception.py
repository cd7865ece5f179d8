"""Inception of 2015, the network of the Inception score and the FID."""

import hashlib
import os
import pathlib

import tensorflow as tf

from sngan_tf import files
from sngan_tf.errors import UserError
from sngan_tf.errors import first_line
from sngan_tf.metrics import tfgan
from sngan_tf.metrics.features.network import FeatureNetwork

_BATCH_SIZE = 64


def load_inception(location: str = "") -> FeatureNetwork:
    """Returns Inception as a `FeatureNetwork`.

    It is tensorflow-gan's module: a SavedModel that is called with float32
    `(batch, 299, 299, 3)` and returns a dict with `pool_3`, 2,048 features,
    and `logits`.

    Args:
        location: Folder of the SavedModel, or a URL that TF-Hub knows; `""`
            for the folder `inception` of the cache, or if there is none
            tensorflow-gan's URL, which is fetched once.

    Raises:
        UserError: If it can't be fetched or is no such module; the message
            says what to put where.
    """
    folder = _folder(location)
    try:
        import tensorflow_hub

        module = tensorflow_hub.load(str(folder))
    except Exception as error:  # loaders raise many kinds
        raise UserError(
            f"{folder} can't be loaded as a SavedModel: {first_line(error)}"
        ) from error
    outputs = _outputs_of(module)
    _check(outputs, folder)
    return FeatureNetwork(
        "inception",
        _digest(folder),
        outputs,
        f"TF1 bilinear to {_size()}",
        _BATCH_SIZE,
        full_side=_size(),
    )


def preprocess(images):
    """uint8 pictures to what Inception takes.

    The arithmetic of its graph of 2015, which tensorflow-gan's earlier
    `preprocess_image` had too: pixel / 128 - 1, then a bilinear resize that
    takes corners, not centers, of pixels for their place, without
    antialiasing. Gray pictures get three equal channels.

    Args:
        images: `(batch, height, width, 1 or 3)`, uint8.

    Returns:
        float32 `(batch, 299, 299, 3)` in [-1, 1).
    """
    images = (tf.cast(images, tf.float32) - 128.0) / 128.0
    if images.shape[-1] == 1:
        images = tf.image.grayscale_to_rgb(images)
    return tf.compat.v1.image.resize(
        images, [_size(), _size()], tf.image.ResizeMethod.BILINEAR
    )


def _size():
    return tfgan.inception_metrics().INCEPTION_DEFAULT_IMAGE_SIZE


def _folder(location):
    """Returns the folder of the SavedModel, fetched if need be."""
    url = tfgan.inception_metrics().INCEPTION_TFHUB
    by_hand = files.cache_directory() / "inception"
    if not location and by_hand.is_dir():
        return by_hand
    location = location or url
    if "://" not in location:
        folder = pathlib.Path(location).expanduser()
        if not (folder / "saved_model.pb").is_file():
            raise UserError(
                "`evaluation.inception` must be the folder of a SavedModel or "
                f"a URL. Received: evaluation.inception={location}"
            )
        return folder
    import tensorflow_hub

    os.environ.setdefault(
        "TFHUB_CACHE_DIR", str(files.cache_directory() / "tfhub")
    )
    try:
        return pathlib.Path(tensorflow_hub.resolve(location))
    except Exception as error:  # downloads fail in many ways
        raise UserError(
            f"Inception can't be fetched from {location} "
            f"({first_line(error)}); unpack {url}?tf-hub-format=compressed to "
            f"{by_hand}, or name its folder by --config.evaluation.inception, "
            "or score by a classifier of the data set's labels: "
            "--config.evaluation.features=classifier"
        ) from error


def _outputs_of(module):
    names = tfgan.inception_metrics()

    def outputs(images):
        found = module(preprocess(images))
        return tuple(
            tf.reshape(
                found[name], (tf.shape(images)[0], found[name].shape[-1])
            )
            for name in (names.INCEPTION_FINAL_POOL, names.INCEPTION_OUTPUT)
        )

    return outputs


def _check(outputs, folder):
    try:
        outputs(tf.zeros((1, 8, 8, 3), tf.uint8))
    except Exception as error:  # whatever another model raises
        raise UserError(
            f"{folder} must hold a SavedModel that takes float32 (batch, "
            f"{_size()}, {_size()}, 3) and returns pool_3 and logits. "
            f"Received: {first_line(error)}"
        ) from error


def _digest(folder):
    # Of the files, as the weights may be constants of the graph.
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(path.relative_to(folder).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
