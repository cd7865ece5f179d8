"""Pictures of the tensorflow-datasets catalog."""

import contextlib
import difflib
import io
import itertools
import logging
import time

from PIL import Image

from sngan_tf import errors
from sngan_tf import progress as progress_lib
from sngan_tf.data import labels as labels_lib
from sngan_tf.data import pictures
from sngan_tf.errors import UserError
from sngan_tf.errors import first_line

_LOGGER = logging.getLogger(__name__)
# Before a host counts as out of reach: times that it is tried, seconds between
# them, and seconds that it has to accept a connection, however slow it is then.
_TRIES = 3
_PAUSE = 1
_PATIENCE = 10


def load(name, picture_format, options):
    """Returns the `Pictures` of a catalog name; see `data.load`."""
    with errors.extra("train"):
        import tensorflow_datasets as tfds

    split = options.split
    builder = _prepared(name, options.directory)
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
    class_names = _class_names(builder, dataset)
    required = options.num_classes, options.conditional
    labels_lib.check(reference, class_names, *required)

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
            if options.on_bad_image == "raise":
                raise UserError(message) from error
            _LOGGER.warning("%s; skipped", message)
            return None, label

    count = len(dataset)
    examples = progress_lib.over(
        tfds.as_numpy(dataset), "pictures", count, show=options.progress
    )
    images, labels, digest = pictures.collect(
        itertools.starmap(fitted, enumerate(examples)),
        count,
        picture_format,
        [reference, str(builder.data_path), options.on_bad_image],
    )
    if labels.min() < 0:
        class_names = ()
        labels_lib.check(reference, (), *required)
    return pictures.Pictures(
        images, labels if class_names else None, class_names, reference, digest
    )


def _class_names(builder, dataset):
    """Returns the names of a data set's classes; none if it has no labels."""
    with errors.extra("train"):
        import tensorflow_datasets as tfds

    label = dict(builder.info.features).get("label")
    if not isinstance(label, tfds.features.ClassLabel):
        return ()
    # Some sets mark the pictures of an unlabelled split by -1.
    if any(e["label"] < 0 for e in tfds.as_numpy(dataset.take(1))):
        return ()
    return tuple(label.names)


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
        with _giving_up_early():
            builder.download_and_prepare()
    except Exception as error:
        raise UserError(
            f"{name} can't be downloaded ({first_line(error)}); "
            f"{_by_hand(builder)}or prepare it elsewhere and copy it to "
            f"{builder.data_path}"
        ) from error
    return builder


@contextlib.contextmanager
def _giving_up_early():
    """A context in which a download fails at once where there is no network.

    tensorflow-datasets goes on trying for minutes, and can't be told not to. So
    each address is tried just before it is opened: where all files are there
    already, nothing is tried.
    """
    with errors.extra("train"):
        import requests
        from tensorflow_datasets.core.download import downloader

    open_url = getattr(downloader, "_open_url", None)

    def opened(url, **options):
        for tries_left in reversed(range(_TRIES)):
            try:
                requests.get(
                    url, stream=True, timeout=(_PATIENCE, None), **options
                ).close()
                break
            except requests.ConnectionError:
                if not tries_left:
                    raise
                time.sleep(_PAUSE)
            except (requests.RequestException, ValueError):
                break  # Not for want of a network.
        return open_url(url, **options)

    downloader._open_url = opened
    try:
        yield
    finally:
        downloader._open_url = open_url


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
