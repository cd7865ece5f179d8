import http.server
import socket
import threading
import time

import numpy as np
import pytest
import requests
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image
from PIL import ImageOps
from tensorflow_datasets.core.download import downloader

from sngan_tf import data
from sngan_tf.data import catalog
from sngan_tf.data import pictures as pictures_lib
from sngan_tf.errors import UserError


def random_pictures(count, channels=3, size=8):
    shape = (count, size, size, channels)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def write(directory, name, version, features, splits):
    """Writes a data set in the format of tensorflow-datasets.

    Args:
        directory: Folder of all data sets.
        name: Its name.
        version: Its version.
        features: Feature of each name.
        splits: Values of each feature, in that order, of each split.
    """
    features = tfds.features.FeaturesDict(features)

    def dataset(columns):
        examples = [dict(zip(features, values)) for values in zip(*columns)]
        return tf.data.Dataset.from_generator(
            lambda: iter(examples),
            output_signature=features.get_tensor_spec(),
        )

    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version=version,
        features=features,
        split_datasets={s: dataset(columns) for s, columns in splits.items()},
        data_dir=directory,
        disable_shuffling=True,
    )


def store(directory, features, examples, name="tiny", split="train"):
    write(directory, name, "1.0.0", features, {split: examples})


def load_stored(directory, name="tiny", **options):
    return data.load(name, 8, directory=str(directory), **options)


@pytest.mark.parametrize("channels", [1, 3])
def test_labelled_set_is_read(tmp_path, channels):
    images, labels = random_pictures(5, channels), [1, 0, 2, 2, 0]
    features = {
        "image": tfds.features.Image(shape=(8, 8, channels)),
        "label": tfds.features.ClassLabel(names=["ant", "bee", "cat"]),
    }
    store(tmp_path, features, [images, labels])
    pictures = load_stored(tmp_path)
    np.testing.assert_array_equal(pictures.images, images)
    np.testing.assert_array_equal(pictures.labels, labels)
    assert pictures.class_names == ("ant", "bee", "cat")
    assert pictures.reference == "tiny/1.0.0/train"


@pytest.mark.parametrize(
    ("label", "labels"),
    [
        (tfds.features.Text(), ["a", "b"]),
        (tfds.features.Scalar(np.int64), [3, 4]),
        (tfds.features.Sequence(np.int64), [[1], [2, 3]]),
        (tfds.features.ClassLabel(num_classes=2), [-1, -1]),
    ],
)
def test_labels_that_are_no_classes_are_left(tmp_path, label, labels):
    images = random_pictures(2)
    features = {"image": tfds.features.Image(shape=(8, 8, 3)), "label": label}
    store(tmp_path, features, [images, labels])
    pictures = load_stored(tmp_path)
    np.testing.assert_array_equal(pictures.images, images)
    assert pictures.labels is None
    assert pictures.class_names == ()


@pytest.mark.parametrize(
    ("feature", "values"),
    [
        ({"text": tfds.features.Text()}, ["a", "b"]),
        (
            {"image": tfds.features.Tensor(shape=(2,), dtype=np.float32)},
            np.zeros((2, 2), np.float32),
        ),
    ],
)
def test_set_without_pictures_is_an_error(tmp_path, feature, values):
    store(tmp_path, feature, [values])
    match = f"'image' feature.*tiny with {next(iter(feature))}"
    with pytest.raises(UserError, match=match):
        load_stored(tmp_path)


def test_unknown_split_lists_those_there_are(tmp_path):
    features = {"image": tfds.features.Image(shape=(8, 8, 3))}
    store(tmp_path, features, [random_pictures(2)], split="photos")
    assert len(load_stored(tmp_path, split="photos")) == 2
    with pytest.raises(UserError, match="one of photos.*Received: train"):
        load_stored(tmp_path)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("mnits", "mnist"),
        ("digit", "digits"),
        ("mnist:9.9.9", "3.0.1"),
        ("mnist/none", "mnist"),
        ("", "digits"),
    ],
)
def test_unknown_name_suggests_near_ones(tmp_path, name, near):
    with pytest.raises(UserError, match=f"Received: {name} ") as caught:
        load_stored(tmp_path, name)
    assert near in str(caught.value)


def test_set_that_cannot_be_downloaded_is_one_line(tmp_path, monkeypatch):
    def fail(self):
        raise OSError("no network\nwith details")

    builder = tfds.core.DatasetBuilder
    monkeypatch.setattr(builder, "download_and_prepare", fail)
    match = rf"^mnist can't be downloaded \(no network\).*{tmp_path}/mnist"
    with pytest.raises(UserError, match=match):
        load_stored(tmp_path, "mnist")


def test_labels_that_are_missing_later_are_left(tmp_path):
    images = random_pictures(3)
    features = {
        "image": tfds.features.Image(shape=(8, 8, 3)),
        "label": tfds.features.ClassLabel(num_classes=2),
    }
    store(tmp_path, features, [images, [0, 1, -1]])
    pictures = load_stored(tmp_path)
    np.testing.assert_array_equal(pictures.images, images)
    assert pictures.labels is None
    assert pictures.class_names == ()
    with pytest.raises(UserError, match="needs labels.*tiny/1.0.0/train"):
        load_stored(tmp_path, conditional=True)


@pytest.fixture
def damaged(tmp_path, monkeypatch):
    """Returns the folder of a set whose second picture can't be decoded."""
    images = random_pictures(4)
    features = {
        "image": tfds.features.Image(shape=(8, 8, 3)),
        "label": tfds.features.ClassLabel(num_classes=2),
    }
    encode = type(features["image"]).encode_example

    def encode_or_spoil(self, image):
        encoded = encode(self, image)
        spoiled = np.array_equal(image, images[1])
        return encoded[: len(encoded) // 2] if spoiled else encoded

    with monkeypatch.context() as patch:
        patch.setattr(tfds.features.Image, "encode_example", encode_or_spoil)
        store(tmp_path, features, [images, [1, 0, 1, 0]])
    return tmp_path


def test_damaged_picture_is_named_by_its_number(damaged):
    match = "^Picture 1 of tiny/1.0.0/train can't be read: "
    with pytest.raises(UserError, match=match):
        load_stored(damaged)


def test_damaged_picture_is_left_out(damaged, caplog):
    pictures = load_stored(damaged, on_bad_image="skip")
    expected = random_pictures(4)[[0, 2, 3]]
    np.testing.assert_array_equal(pictures.images, expected)
    np.testing.assert_array_equal(pictures.labels, [1, 1, 0])
    assert "Picture 1 of tiny/1.0.0/train can't be read" in caplog.text
    assert caplog.text.count("skipped") == 1


# The sets of the paper, by name.

RED, GREEN = (255, 0, 0), (0, 255, 0)
CIFAR10_CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
CIFAR10 = random_pictures(14, size=32)
CIFAR10_LABELS = np.array([*range(10), 0, 9, 3, 3])
STL10 = random_pictures(7, size=96)
IMAGENET_SIZES = (  # Width and height.
    *((256, 256), (255, 300), (300, 255), (500, 375)),
    *((256, 400), (257, 301), (2, 2)),
)
IMAGENET_KEPT = [0, 3, 4, 5]
IMAGENET_LABELS = np.array([999, 1, 2, 0, 999, 5, 6])


def imagenet_pictures():
    """Random pictures, but one that is red above and below its centre."""
    random = np.random.default_rng(0)
    pictures = [
        random.integers(0, 256, (height, width, 3), np.uint8)
        for width, height in IMAGENET_SIZES
    ]
    pictures[4][:] = RED
    pictures[4][72:-72] = GREEN
    return pictures


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """Few pictures in the form of cifar10, stl10 and imagenet2012."""
    directory = tmp_path_factory.mktemp("tensorflow_datasets")
    text, image = tfds.features.Text(), tfds.features.Image
    ids = [f"{i}" for i in range(14)]
    write(
        directory,
        "cifar10",
        "3.0.2",
        {
            "id": text,
            "image": image(shape=(32, 32, 3)),
            "label": tfds.features.ClassLabel(names=CIFAR10_CLASSES),
        },
        {
            "train": [ids[:12], CIFAR10[:12], CIFAR10_LABELS[:12]],
            "test": [ids[12:], CIFAR10[12:], CIFAR10_LABELS[12:]],
        },
    )
    write(
        directory,
        "stl10",
        "1.0.0",
        {
            "image": image(shape=(96, 96, 3)),
            "label": tfds.features.ClassLabel(num_classes=10),
        },
        {
            "train": [STL10[:2], [9, 0]],
            "test": [STL10[2:4], [1, 1]],
            "unlabelled": [STL10[4:], [-1, -1, -1]],
        },
    )
    write(
        directory,
        "imagenet2012",
        "5.1.0",
        {
            "file_name": text,
            "image": image(shape=(None, None, 3)),
            "label": tfds.features.ClassLabel(num_classes=1000),
        },
        {"train": [ids[:7], imagenet_pictures(), IMAGENET_LABELS]},
    )
    return str(directory)


@pytest.mark.parametrize(
    ("split", "part"), [("train", slice(12)), ("test", slice(12, 14))]
)
def test_cifar10_is_read_to_the_pixel(directory, split, part):
    pictures = data.load("cifar10", 32, split=split, directory=directory)
    np.testing.assert_array_equal(pictures.images, CIFAR10[part])
    np.testing.assert_array_equal(pictures.labels, CIFAR10_LABELS[part])
    assert pictures.class_names == CIFAR10_CLASSES
    assert pictures.reference == f"cifar10/3.0.2/{split}"


@pytest.mark.parametrize(
    ("split", "part", "labels"),
    [("train", slice(2), [9, 0]), ("test", slice(2, 4), [1, 1])],
)
def test_stl10_is_read_at_half_the_size(directory, split, part, labels):
    pictures = data.load("stl10", 48, split=split, directory=directory)
    expected = [
        Image.fromarray(picture).resize((48, 48), Image.Resampling.BICUBIC)
        for picture in STL10[part]
    ]
    np.testing.assert_array_equal(pictures.images, np.stack(expected))
    np.testing.assert_array_equal(pictures.labels, labels)
    assert len(pictures.class_names) == 10
    assert pictures.reference == f"stl10/1.0.0/{split}"


def test_unlabelled_stl10_has_no_labels(directory):
    pictures = data.load("stl10", 96, split="unlabelled", directory=directory)
    np.testing.assert_array_equal(pictures.images, STL10[4:])
    assert pictures.labels is None
    assert pictures.class_names == ()
    assert pictures.reference == "stl10/1.0.0/unlabelled"


def load_imagenet(directory, **options):
    return data.load(
        "imagenet2012", 128, min_side=256, directory=directory, **options
    )


def test_imagenet_is_cropped_then_shrunk(directory):
    pictures = load_imagenet(directory)
    images = imagenet_pictures()
    expected = []
    for kept in IMAGENET_KEPT:
        image = Image.fromarray(images[kept])
        image = ImageOps.fit(image, (256, 256), Image.Resampling.BICUBIC)
        image = ImageOps.fit(image, (128, 128), Image.Resampling.BILINEAR)
        expected.append(np.asarray(image))
    np.testing.assert_array_equal(pictures.images, np.stack(expected))
    assert pictures.reference == "imagenet2012/5.1.0/train"


def test_borders_of_imagenet_are_cropped(directory):
    picture = load_imagenet(directory).images[IMAGENET_KEPT.index(4)]
    np.testing.assert_array_equal(picture, np.full((128, 128, 3), GREEN))


def test_labels_of_imagenet_stay_with_the_kept(directory):
    pictures = load_imagenet(directory, num_classes=1000, conditional=True)
    np.testing.assert_array_equal(
        pictures.labels, IMAGENET_LABELS[IMAGENET_KEPT]
    )
    assert len(pictures.class_names) == 1000


def test_all_of_imagenet_without_a_shortest_side(directory):
    pictures = data.load("imagenet2012", 16, directory=directory)
    assert pictures.images.shape == (7, 16, 16, 3)
    np.testing.assert_array_equal(pictures.labels, IMAGENET_LABELS)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "cifar10",
            {"num_classes": 100},
            "num_classes=100, 10 classes in cifar10/3.0.2/train$",
        ),
        (
            "stl10",
            {"split": "unlabelled", "num_classes": 10},
            "num_classes=10, 0 classes in stl10/1.0.0/unlabelled$",
        ),
        (
            "stl10",
            {"split": "unlabelled", "conditional": True},
            "needs labels.*stl10/1.0.0/unlabelled, which has none$",
        ),
    ],
)
def test_classes_are_checked_before_pictures_are_read(
    directory, fitted, name, options, message
):
    with pytest.raises(UserError, match=message):
        data.load(name, 32, directory=directory, **options)
    assert not fitted


def test_unequal_classes_of_a_conditional_set_are_warned_of(directory, caplog):
    data.load("cifar10", 32, directory=directory, conditional=True)
    assert "cifar10/3.0.2/train hold unequal numbers" in caplog.text
    assert caplog.text.endswith("1 of automobile, 2 of airplane\n")


def test_classes_as_asked_are_accepted(directory):
    pictures = data.load(
        "cifar10", 32, directory=directory, num_classes=10, conditional=True
    )
    assert len(pictures) == 12


# Sets that are too large for memory.


@pytest.fixture
def on_disk(monkeypatch, tmp_path):
    monkeypatch.setenv("SNGAN_TF_CACHE", str(tmp_path))
    monkeypatch.setattr(pictures_lib, "MEMORY_LIMIT", 0)


@pytest.mark.usefixtures("on_disk")
def test_large_set_is_decoded_once(directory, fitted):
    for _ in range(2):
        pictures = data.load("cifar10", 32, directory=directory)
        assert isinstance(pictures.images, np.memmap)
        np.testing.assert_array_equal(pictures.images, CIFAR10[:12])
        np.testing.assert_array_equal(pictures.labels, CIFAR10_LABELS[:12])
        assert len(fitted) == 12


@pytest.mark.usefixtures("on_disk")
def test_splits_are_kept_apart_on_disk(directory):
    for _ in range(2):
        for split, part in (("train", slice(2)), ("test", slice(2, 4))):
            pictures = data.load("stl10", 96, split=split, directory=directory)
            np.testing.assert_array_equal(pictures.images, STL10[part])


@pytest.mark.usefixtures("on_disk")
def test_unlabelled_split_has_no_labels_on_disk(directory):
    for _ in range(2):
        pictures = data.load(
            "stl10", 96, split="unlabelled", directory=directory
        )
        np.testing.assert_array_equal(pictures.images, STL10[4:])
        assert pictures.labels is None


@pytest.mark.usefixtures("on_disk")
def test_shortest_sides_are_kept_apart_on_disk(directory):
    for min_side, count in ((256, 4), (255, 6), (0, 7), (256, 4)):
        pictures = data.load(
            "imagenet2012", 16, min_side=min_side, directory=directory
        )
        assert len(pictures) == len(pictures.labels) == count


# Sets that can't be fetched.


@pytest.mark.parametrize(
    ("name", "path", "archives"),
    [
        ("cifar10", "cifar10/3.0.2", ["cifar-10-binary.tar.gz"]),
        ("stl10", "stl10/1.0.0", ["stl10_binary.tar.gz"]),
        (
            "imagenet2012",
            "imagenet2012/5.1.0",
            ["ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"],
        ),
    ],
)
def test_what_to_download_by_hand_is_named(
    tmp_path, monkeypatch, name, path, archives
):
    def fail(self):
        raise OSError("no network\nwith details")

    builder = tfds.core.DatasetBuilder
    monkeypatch.setattr(builder, "download_and_prepare", fail)
    with pytest.raises(UserError) as caught:
        load_stored(tmp_path, name)
    message = str(caught.value)
    assert message.startswith(f"{name} can't be downloaded (no network); ")
    assert len(message.splitlines()) == 1
    assert f"to {tmp_path}/downloads/manual" in message
    assert message.endswith(f"copy it to {tmp_path}/{path}")
    for archive in archives:
        assert archive in message


def test_download_by_hand_is_found(tmp_path):
    """A wrong archive there is refused by its checksum, without network."""
    manual = tmp_path / "downloads" / "manual"
    manual.mkdir(parents=True)
    (manual / "cifar-10-binary.tar.gz").write_text("not the archive")
    match = f"{manual}/cifar-10-binary.tar.gz, has wrong checksum"
    with pytest.raises(UserError, match=match):
        load_stored(tmp_path, "cifar10")


def test_without_a_network_it_is_said_at_once(tmp_path, monkeypatch):
    """tensorflow-datasets asks eleven times, for minutes."""
    asked = []

    def no_network(host, *args, **options):
        asked.append(host)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    monkeypatch.setattr(catalog, "_PAUSE", 0)
    match = r"^cifar10 can't be downloaded \(.*Name or service not known"
    with pytest.raises(UserError, match=match):
        load_stored(tmp_path, "cifar10")
    assert asked.count("www.cs.toronto.edu") == catalog._TRIES


@pytest.fixture
def url():
    """Yields an address that accepts at once and answers after a while."""

    class Slow(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            time.sleep(0.2)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"content")

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/archive.tar"
        server.shutdown()


def test_slow_network_is_no_missing_one(monkeypatch, url):
    monkeypatch.setattr(catalog, "_PATIENCE", 0.1)
    with (
        catalog._giving_up_early(),
        downloader._open_url(url, verify=True) as (_, content),
    ):
        assert b"".join(content) == b"content"


@pytest.mark.parametrize("answer", [requests.TooManyRedirects, ValueError])
def test_other_troubles_are_left_to_the_download(monkeypatch, url, answer):
    def get(*args, **options):
        raise answer

    monkeypatch.setattr(requests, "get", get)
    opened = downloader._open_url
    with (
        catalog._giving_up_early(),
        downloader._open_url(url, verify=True) as (_, content),
    ):
        assert b"".join(content) == b"content"
    assert downloader._open_url is opened
