"""Pictures in memory, and the tf.data pipeline that trains on them.

`load` reads a whole data set as uint8; `training_batches` converts on the fly.
"""

import concurrent.futures
import dataclasses
import difflib
import functools
import pathlib

import numpy as np
import tensorflow as tf
from PIL import Image
from PIL import ImageOps

from sngan_tf import images as images_lib
from sngan_tf.errors import UserError
from sngan_tf.errors import first_line

_FOLDER = "folder:"
_EXTENSIONS = frozenset(
    (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
)
_GRAY_MODES = ("1", "L", "LA", "F")


@dataclasses.dataclass(frozen=True)
class Pictures:
    """A data set in memory.

    Attributes:
        images: `(count, size, size, channels)`, uint8, 1 or 3 channels.
        labels: `(count,)`, int32 class of each picture, or None.
        class_names: Name of each class; empty without labels.
        reference: Data set and split, as scores name it.
    """

    images: np.ndarray
    labels: np.ndarray | None
    class_names: tuple
    reference: str

    def __len__(self):
        return len(self.images)


def load(
    name,
    image_size,
    channels=0,
    split="train",
    directory=None,
    progress=False,
):
    """Loads a data set whole, resized and centre-cropped to a square.

    Args:
        name: `"digits"` (1,797 handwritten digits of 8 x 8 pixels that ship
            with scikit-learn), `"folder:PATH"` (pictures in PATH, or in one
            folder per class), or any tensorflow-datasets name with an "image"
            feature.
        image_size: Side of the pictures, in pixels.
        channels: 1 makes the pictures gray, 3 colour; 0 leaves a gray set
            gray, and gives three channels to a set with any colour picture.
        split: Split of a tensorflow-datasets set, such as `"train"`; the
            others have none.
        directory: Where tensorflow-datasets keeps its data; None for its
            default.
        progress: Whether to show a bar.

    Returns:
        `Pictures`.

    Raises:
        UserError: If the data set, folder or a picture in it can't be read.
    """
    fit = functools.partial(_fit, image_size=image_size, channels=channels)
    if name == "digits":
        return _load_digits(fit)
    if name.startswith(_FOLDER):
        return _load_folder(name, fit, progress)
    return _load_tfds(name, fit, split, directory, progress)


def training_batches(pictures, batch_size, seed, start=0):
    """Endless float32 batches in [-1, 1), a function of seed and position.

    Every epoch is a new permutation of all pictures. Batch k is the same
    wherever the iteration starts, so a run continues where it stopped.

    Args:
        pictures: `Pictures`, at least one batch of them.
        batch_size: Pictures in a batch.
        seed: Integer that the order and the dequantisation noise depend on.
        start: Index of the first batch.

    Returns:
        A `tf.data.Dataset` of `(batch_size, size, size, channels)`.

    Raises:
        UserError: If a batch is larger than the data.
    """
    count = len(pictures)
    if batch_size > count:
        raise UserError(
            "A batch must not be larger than the data. Received: "
            f"{batch_size} pictures a batch, {count} in {pictures.reference}"
        )

    # A tensor is captured by the pipeline, an array would be copied into it.
    images = tf.constant(pictures.images)
    seed = tf.constant(seed, tf.int64)

    def rows_of(epoch, positions):
        return tf.random.experimental.index_shuffle(
            positions, tf.stack([seed, epoch]), tf.constant(count - 1, tf.int64)
        )

    def batch(index):
        positions = index * batch_size + tf.range(batch_size, dtype=tf.int64)
        epochs, positions = positions // count, positions % count
        # A batch is no larger than the data, so two epochs at most share it.
        rows = tf.where(
            epochs == epochs[0],
            rows_of(epochs[0], positions),
            rows_of(epochs[0] + 1, positions),
        )
        return images_lib.dequantize(
            tf.gather(images, rows), tf.stack([seed, index])
        )

    indices = tf.data.Dataset.range(start, tf.int64.max)
    return indices.map(batch, num_parallel_calls=tf.data.AUTOTUNE).prefetch(
        tf.data.AUTOTUNE
    )


def _load_digits(fit):
    from sklearn import datasets

    digits = datasets.load_digits()
    levels = np.rint(digits.images * (255.0 / 16.0)).astype(np.uint8)
    return Pictures(
        _stack([fit(Image.fromarray(image)) for image in levels]),
        digits.target.astype(np.int32),
        tuple(str(name) for name in digits.target_names),
        "digits/all",
    )


def _load_folder(name, fit, progress):
    folder = pathlib.Path(name.removeprefix(_FOLDER)).expanduser()
    if not folder.is_dir():
        raise UserError(f"`data.name` names a missing folder. Received: {name}")
    paths = _pictures_in(folder)
    classes = [path for path in _visible(folder) if path.is_dir()]
    if paths and classes:
        raise UserError(
            "A folder of pictures must be flat or hold one folder per class, "
            f"not both. Received: {folder} with {paths[0].name} beside "
            f"{classes[0].name}/"
        )
    labels = None
    if classes:
        paths_of = [_pictures_in(path) for path in classes]
        for path, found in zip(classes, paths_of, strict=True):
            if not found:
                raise UserError(
                    "Every class folder must hold pictures "
                    f"({', '.join(sorted(_EXTENSIONS))}). Received: {path} "
                    "without any"
                )
        counts = [len(found) for found in paths_of]
        paths = [path for found in paths_of for path in found]
        labels = np.repeat(np.arange(len(classes), dtype=np.int32), counts)
    if not paths:
        raise UserError(
            f"`data.name` must name a folder that holds pictures "
            f"({', '.join(sorted(_EXTENSIONS))}). Received: {name}"
        )
    with concurrent.futures.ThreadPoolExecutor() as pool:
        images = list(
            _bar(
                pool.map(lambda path: _read(path, fit), paths),
                len(paths),
                progress,
            )
        )
    return Pictures(
        _stack(images),
        labels,
        tuple(path.name for path in classes),
        f"{_FOLDER}{folder.resolve()}",
    )


def _load_tfds(name, fit, split, directory, progress):
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
            f"{name} can't be downloaded ({first_line(error)}); prepare it "
            f"elsewhere and copy it to {builder.data_path}"
        ) from error
    if split not in builder.info.splits:
        raise UserError(
            "`data.split` must be one of "
            f"{', '.join(builder.info.splits)}. Received: {split}"
        )
    label_feature = features.get("label")
    labelled = isinstance(label_feature, tfds.features.ClassLabel)
    images, labels = [], []
    examples = tfds.as_numpy(builder.as_dataset(split=split))
    for example in _bar(examples, len(examples), progress):
        image = example["image"]
        if image.shape[-1] == 1:
            image = image[..., 0]
        images.append(fit(Image.fromarray(image)))
        labels.append(example["label"] if labelled else -1)
    labels = np.asarray(labels, np.int32)
    labelled = labels.min() >= 0  # Some sets mark unlabelled pictures by -1.
    return Pictures(
        _stack(images),
        labels if labelled else None,
        tuple(label_feature.names) if labelled else (),
        f"{builder.info.full_name}/{split}",
    )


def _visible(folder):
    return sorted(p for p in folder.iterdir() if not p.name.startswith("."))


def _pictures_in(folder):
    return [
        path
        for path in _visible(folder)
        if path.is_file() and path.suffix.lower() in _EXTENSIONS
    ]


def _read(path, fit):
    try:
        with Image.open(path) as image:
            return fit(ImageOps.exif_transpose(image))
    except Exception as error:  # damaged files raise many kinds
        raise UserError(
            f"{path} can't be read as a picture: {first_line(error)}"
        ) from error


def _fit(image, image_size, channels):
    """Returns uint8 `(size, size, 1 or 3)`."""
    if image.mode.startswith("I"):  # 16 bits a pixel
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    gray = channels == 1 or (not channels and image.mode in _GRAY_MODES)
    image = ImageOps.fit(
        image.convert("L" if gray else "RGB"),
        (image_size, image_size),
        Image.Resampling.BICUBIC,
    )
    return np.asarray(image).reshape(image_size, image_size, -1)


def _stack(images):
    """Stacks pictures; gray ones get three channels if any has colour."""
    channels = max(image.shape[-1] for image in images)
    shape = (*images[0].shape[:2], channels)
    return np.stack([np.broadcast_to(image, shape) for image in images])


def _bar(items, total, progress):
    import tqdm

    return tqdm.tqdm(
        items, "pictures", total, disable=not progress, unit=" pictures"
    )
