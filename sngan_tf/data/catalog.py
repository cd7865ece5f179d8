"""Pictures of the tensorflow-datasets catalog."""

import difflib
import io
import itertools
import logging

from PIL import Image

from sngan_tf import errors
from sngan_tf import progress as progress_lib
from sngan_tf.data import pictures
from sngan_tf.errors import UserError
from sngan_tf.errors import first_line

_LOGGER = logging.getLogger(__name__)


def load(
    name,
    picture_format,
    split,
    directory,
    num_classes,
    conditional,
    on_bad_image,
    progress,
):
    """Returns the `Pictures` of a catalog name; see `data.load`."""
    with errors.extra("train"):
        import tensorflow_datasets as tfds

    builder = _prepared(name, directory)
    if split not in builder.info.splits:
        raise UserError(
            "The split must be one of "
            f"{', '.join(builder.info.splits)}. Received: {split}"
        )
    reference = f"{builder.info.full_name}/{split}"
    dataset = builder.as_dataset(
        split=split,
        # A picture that can't be decoded would end the data.
        decoders={"image": tfds.decode.SkipDecoding()},
        read_config=tfds.ReadConfig(try_autocache=False),
    )
    label = dict(builder.info.features).get("label")
    class_names = ()
    if isinstance(label, tfds.features.ClassLabel):
        class_names = tuple(label.names)
        # Some sets mark the pictures of an unlabelled split by -1.
        if any(e["label"] < 0 for e in tfds.as_numpy(dataset.take(1))):
            class_names = ()
    pictures.check_classes(reference, class_names, num_classes, conditional)

    def fitted(number, example):
        label = example["label"] if class_names else 0
        try:
            with Image.open(io.BytesIO(example["image"])) as image:
                return picture_format.fit(image), label
        except Exception as error:  # damaged pictures raise many kinds
            message = (
                f"Picture {number} of {reference} can't be read: "
                f"{first_line(error)}"
            )
            if on_bad_image == "raise":
                raise UserError(message) from error
            _LOGGER.warning("%s; skipped", message)
            return None, label

    count = len(dataset)
    examples = progress_lib.over(
        tfds.as_numpy(dataset), "pictures", count, show=progress
    )
    images, labels = pictures.collect(
        itertools.starmap(fitted, enumerate(examples)),
        count,
        picture_format,
        [reference, str(builder.data_path)],
    )
    if labels.min() < 0:
        class_names = ()
        pictures.check_classes(reference, (), num_classes, conditional)
    return pictures.Pictures(
        images, labels if class_names else None, class_names, reference
    )


def _prepared(name, directory):
    """Returns the builder of a set of pictures, its data on disk."""
    with errors.extra("train"):
        import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, data_dir=directory)
    except Exception as error:  # many kinds: unknown names, versions, configs
        known = ["digits", *tfds.list_builders()]
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        raise UserError(
            "`data.name` must be digits, folder:PATH or the name of a "
            "tensorflow-datasets set"
            + (f" (near: {', '.join(near)})" if near else "")
            + f". Received: {name} ({first_line(error)})"
        ) from error
    features = dict(builder.info.features or {})
    if not isinstance(features.get("image"), tfds.features.Image):
        raise UserError(
            "`data.name` must be a data set with an 'image' feature that is a "
            f"picture. Received: {name} with {', '.join(features)}"
        )
    try:
        builder.download_and_prepare()
    except Exception as error:
        raise UserError(
            f"{name} can't be downloaded ({first_line(error)}); "
            f"{_by_hand(builder)}or prepare it elsewhere and copy it to "
            f"{builder.data_path}"
        ) from error
    return builder


def _by_hand(builder):
    """Returns what to download and where to put it, if that is known."""
    urls = list(builder.url_infos or {})
    if not urls:
        return ""
    # The data path is root/name/version, with a config root/name/config/...
    parts = len(builder.info.full_name.split("/"))
    root = list(builder.data_path.parents)[parts - 1]
    terms = " ".join((builder.MANUAL_DOWNLOAD_INSTRUCTIONS or "").split())
    return (
        f"download {' and '.join(urls)} to {root}/downloads/manual"
        + (f" ({terms.rstrip('.')})" if terms else "")
        + " and run again, "
    )
