"""A classifier that is kept, so that scores compare between machines."""

import pathlib

import keras

from sngan_tf import types
from sngan_tf.errors import UserError
from sngan_tf.errors import first_line
from sngan_tf.metrics import sources
from sngan_tf.metrics.features import classifier
from sngan_tf.metrics.features.network import FeatureNetwork

# Those that come with the package.
SHIPPED = {
    "cifar10": pathlib.Path(__file__).with_name("cifar10_classifier.keras")
}


def saved_classifier(
    location: types.Path, pictures: sources.Pictures
) -> FeatureNetwork:
    """Returns a classifier that was trained before.

    Where one is trained anew its weights differ from machine to machine, and
    so do its scores; those by the same file compare.

    Args:
        location: `"cifar10"`, the one of CIFAR-10 that comes with the package:
            15 epochs of `load_classifier` on four fifths of the training set.
            Or the path of a `.keras` file of a model of uint8
            `(batch, size, size, channels)` to features `(batch, d)` and logits
            `(batch, classes)`, as those that `load_classifier` keeps.
        pictures: `data.Pictures` of its size, with its number of classes in
            the same order, or without labels.

    Returns:
        A `FeatureNetwork`, its accuracy not measured yet.

    Raises:
        UserError: If there is no such model, or not for such pictures.
    """
    model = _load(location)
    _check(model, location, pictures)
    return classifier.frozen(model)


def _load(location):
    path = SHIPPED.get(location, pathlib.Path(location).expanduser())
    if path.suffix != ".keras" or not path.is_file():
        raise UserError(
            f"`evaluation.classifier` must be {', '.join(SHIPPED)} or the path "
            f"of a .keras file. Received: evaluation.classifier={location}"
        )
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # whatever a damaged file raises
        raise UserError(
            f"`evaluation.classifier` can't be loaded ({first_line(error)}). "
            f"Received: evaluation.classifier={location}"
        ) from error


def _check(model, location, pictures):
    received = f"Received: evaluation.classifier={location}"
    inputs, outputs = model.inputs or (), model.outputs or ()
    ranks = [len(x.shape) for x in (*inputs, *outputs)]
    if ranks != [4, 2, 2] or inputs[0].dtype != "uint8":
        raise UserError(
            "`evaluation.classifier` must be a model of uint8 (batch, size, "
            f"size, channels) to [features, logits]. {received}"
        )
    theirs, ours = inputs[0].shape[1:], pictures.images.shape[1:]
    if theirs != ours:
        raise UserError(
            "`evaluation.classifier` must be of pictures of "
            f"{_by(ours)}, as the data. {received}, of {_by(theirs)}"
        )
    theirs, ours = outputs[1].shape[-1], len(pictures.class_names)
    # A single class says nothing of what is in its pictures.
    if ours > 1 and theirs != ours:
        raise UserError(
            f"`evaluation.classifier` must be of {ours} classes, as "
            f"{pictures.reference}. {received}, of {theirs}"
        )


def _by(shape):
    return " x ".join(map(str, shape))
