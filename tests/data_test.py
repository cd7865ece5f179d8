import itertools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image
from sklearn import datasets

from sngan_tf import data
from sngan_tf import images as images_lib
from sngan_tf.errors import UserError

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def save(path, mode="RGB", size=(8, 8), color=RED, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, color).save(path, **options)
    return path


def load(folder, **options):
    return data.load(f"folder:{folder}", 8, **options)


def random_pictures(count, channels=3):
    shape = (count, 8, 8, channels)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


# Digits.


def test_digits_are_those_of_scikit_learn():
    digits = datasets.load_digits()
    pictures = data.load("digits", 8)
    assert len(pictures) == 1797
    np.testing.assert_array_equal(
        pictures.images[..., 0], np.rint(digits.images * 255 / 16)
    )
    np.testing.assert_array_equal(pictures.labels, digits.target)
    assert pictures.class_names == tuple("0123456789")
    assert pictures.reference == "digits/all"


def test_digits_are_resized():
    small, large = (data.load("digits", size).images for size in (8, 16))
    assert large.shape == (1797, 16, 16, 1)
    means = large.reshape(1797, 8, 2, 8, 2).mean(axis=(2, 4))
    assert np.corrcoef(means.ravel(), small.ravel())[0, 1] > 0.99


# Folders.


def test_flat_folder_has_no_labels(tmp_path):
    save(tmp_path / "b.png", color=BLUE)
    save(tmp_path / "a.png", color=RED)
    pictures = load(tmp_path)
    np.testing.assert_array_equal(pictures.images[:, 4, 4], [RED, BLUE])
    assert pictures.labels is None
    assert pictures.class_names == ()
    assert pictures.reference == f"folder:{tmp_path}"


def test_class_folders_are_labels(tmp_path):
    save(tmp_path / "dog" / "1.png", color=BLUE)
    save(tmp_path / "cat" / "2.png", color=GREEN)
    save(tmp_path / "cat" / "1.png", color=RED)
    pictures = load(tmp_path)
    np.testing.assert_array_equal(pictures.images[:, 4, 4], [RED, GREEN, BLUE])
    np.testing.assert_array_equal(pictures.labels, [0, 0, 1])
    assert pictures.class_names == ("cat", "dog")


@pytest.mark.parametrize(
    "name",
    ["a.png", "a.JPG", "a.jpeg", "a.gif", "a.bmp", "a.webp", "a.TIFF", "a.tif"],
)
def test_format_is_read(tmp_path, name):
    save(tmp_path / name, color=(200, 100, 50))
    (picture,) = load(tmp_path).images
    assert picture.shape == (8, 8, 3)
    difference = np.abs(picture - np.array([200.0, 100, 50]))
    assert difference.max() <= 3  # JPEG and WebP lose some.


@pytest.mark.parametrize(
    ("mode", "color", "expected"),
    [
        ("L", 77, (77,)),
        ("LA", (77, 10), (77,)),
        ("1", 1, (255,)),
        ("I;16", 77 * 256 + 200, (77,)),
        ("RGBA", (1, 2, 3, 4), (1, 2, 3)),
        ("P", 0, (10, 20, 30)),
        ("CMYK", (0, 255, 0, 0), (255, 0, 255)),
    ],
)
def test_mode_is_read(tmp_path, mode, color, expected):
    suffix = ".tiff" if mode == "CMYK" else ".png"
    picture = Image.new(mode, (8, 8), color)
    if mode == "P":
        picture.putpalette([10, 20, 30])
    picture.save(tmp_path / f"picture{suffix}")
    (picture,) = load(tmp_path).images
    np.testing.assert_array_equal(
        picture, np.full((8, 8, len(expected)), expected)
    )


def test_big_endian_16_bits_are_read(tmp_path):
    values = np.full((8, 8), 77 * 256 + 200, ">u2")
    picture = Image.frombytes("I;16B", (8, 8), values.tobytes())
    picture.save(tmp_path / "picture.tiff")
    np.testing.assert_array_equal(
        load(tmp_path).images, np.full((1, 8, 8, 1), 77)
    )


@pytest.mark.parametrize(("channels", "given"), [(0, 3), (1, 1), (3, 3)])
def test_gray_beside_colour(tmp_path, channels, given):
    save(tmp_path / "a.png", "L", color=77)
    save(tmp_path / "b.png", color=RED)
    pictures = load(tmp_path, channels=channels)
    assert pictures.images.shape == (2, 8, 8, given)
    np.testing.assert_array_equal(
        pictures.images[0], np.full((8, 8, given), 77)
    )


@pytest.mark.parametrize(("channels", "given"), [(0, 1), (1, 1), (3, 3)])
def test_gray_alone(tmp_path, channels, given):
    save(tmp_path / "a.png", "L", color=77)
    pictures = load(tmp_path, channels=channels)
    np.testing.assert_array_equal(
        pictures.images, np.full((1, 8, 8, given), 77)
    )


def test_exif_rotation_is_undone(tmp_path):
    picture = Image.new("RGB", (16, 16), BLUE)
    picture.paste(RED, (0, 0, 8, 16))
    exif = Image.Exif()
    exif[0x0112] = 6  # To be shown turned right by a quarter: red on top.
    picture.save(tmp_path / "a.png", exif=exif)
    (picture,) = load(tmp_path).images
    np.testing.assert_array_equal(picture[1, [1, 6]], [RED, RED])
    np.testing.assert_array_equal(picture[6, [1, 6]], [BLUE, BLUE])


@pytest.mark.parametrize("size", [(32, 16), (16, 48), (100, 8)])
def test_centre_is_cropped(tmp_path, size):
    picture = Image.new("RGB", size, RED)
    side = min(size)
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    picture.paste(GREEN, (left, top, left + side, top + side))
    picture.save(tmp_path / "a.png")
    pictures = load(tmp_path).images.astype(int)
    # Interpolation looks one pixel past the crop.
    assert np.abs(pictures - GREEN).max() < 20
    assert np.array_equal(pictures[0, 1:-1, 1:-1], np.full((6, 6, 3), GREEN))


@pytest.mark.parametrize("classes", ["", "cat"])
def test_hidden_and_other_files_are_skipped(tmp_path, classes):
    save(tmp_path / classes / "a.png", color=GREEN)
    save(tmp_path / ".git" / "b.png")
    save(tmp_path / classes / ".c.png")
    (tmp_path / classes / "notes.txt").write_text("not a picture")
    pictures = load(tmp_path)
    np.testing.assert_array_equal(pictures.images[:, 4, 4], [GREEN])


def test_order_survives_threads(tmp_path):
    for i in range(50):
        size = 8 * (1 + (7 * i) % 50)  # Larger ones take longer.
        save(tmp_path / f"{i:02}.png", "L", (size, size), i)
    np.testing.assert_array_equal(
        load(tmp_path).images[:, 4, 4, 0], np.arange(50)
    )


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    save(tmp_path / "pictures" / "a.png", color=GREEN)
    np.testing.assert_array_equal(load("~/pictures").images[0, 0, 0], GREEN)


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match=f"missing folder.*{tmp_path}/none"):
        load(tmp_path / "none")


def test_folder_without_pictures_is_an_error(tmp_path):
    (tmp_path / "notes.txt").write_text("not a picture")
    with pytest.raises(UserError, match=f"jpg.*{tmp_path}"):
        load(tmp_path)


def test_class_without_pictures_is_an_error(tmp_path):
    save(tmp_path / "cat" / "a.png")
    (tmp_path / "dog").mkdir()
    with pytest.raises(UserError, match=f"{tmp_path}/dog without"):
        load(tmp_path)


def test_pictures_beside_classes_are_an_error(tmp_path):
    save(tmp_path / "cat" / "a.png")
    save(tmp_path / "b.png")
    with pytest.raises(UserError, match="not both.*b.png beside cat/"):
        load(tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"not a picture",
        lambda content: b"",
        lambda content: content[: len(content) // 2],
    ],
    ids=["other", "empty", "truncated"],
)
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_damaged_picture_is_named(tmp_path, damage, suffix):
    save(tmp_path / f"a{suffix}")
    damaged = tmp_path / f"b{suffix}"
    noise = Image.fromarray(random_pictures(1)[0]).resize((64, 64))
    noise.save(damaged)
    damaged.write_bytes(damage(damaged.read_bytes()))
    with pytest.raises(UserError, match=f"{damaged} can't be read"):
        load(tmp_path)


def test_picture_with_damaged_exif_is_named(tmp_path):
    """Pillow raises a SyntaxError here, no OSError."""
    path = save(tmp_path / "a.webp", exif=b"Exif\0\0MMH*\0\0\0\x08")
    with pytest.raises(UserError, match=f"{path} can't be read"):
        load(tmp_path)


# tensorflow-datasets.


def store(directory, features, examples, name="tiny", split="train"):
    """Writes a data set in the format of tensorflow-datasets."""
    features = tfds.features.FeaturesDict(features)
    examples = [dict(zip(features, example)) for example in zip(*examples)]
    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version="1.0.0",
        features=features,
        split_datasets={
            split: tf.data.Dataset.from_generator(
                lambda: iter(examples),
                output_signature=features.get_tensor_spec(),
            )
        },
        data_dir=directory,
        disable_shuffling=True,
    )


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


# Batches.


def numbered(count):
    """Pictures that bear their number in two pixels of different levels."""
    images = np.zeros((count, 2, 1, 1), np.uint8)
    images[:, 0, 0, 0], images[:, 1, 0, 0] = divmod(np.arange(count), 256)
    return data.Pictures(images, None, (), "numbered")


def batches(pictures, count, batch_size, seed=0, start=0):
    dataset = data.training_batches(pictures, batch_size, seed, start)
    return np.stack(list(dataset.take(count).as_numpy_iterator()))


def numbers(floats):
    levels = images_lib.to_uint8(floats).numpy().astype(int)
    return levels[..., 0, 0, 0] * 256 + levels[..., 1, 0, 0]


@pytest.mark.parametrize(
    ("count", "batch_size"), [(300, 7), (300, 300), (10, 9), (3, 2), (2, 1)]
)
def test_every_epoch_is_a_permutation(count, batch_size):
    drawn = numbers(
        batches(numbered(count), 4 * count // batch_size, batch_size)
    )
    epochs = drawn.ravel()[: 3 * count].reshape(3, count)
    np.testing.assert_array_equal(
        np.sort(epochs), np.tile(np.arange(count), (3, 1))
    )


def test_epochs_differ_and_are_shuffled():
    epochs = numbers(batches(numbered(300), 4, 300))
    orders = [np.arange(300), *epochs]
    for one, other in itertools.combinations(orders, 2):
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.2


def test_batches_are_a_function_of_the_seed():
    once, again, other = (
        batches(numbered(50), 9, 8, seed=seed) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(once, again)
    assert not np.array_equal(numbers(once), numbers(other))


def test_noise_is_fresh_in_every_batch():
    floats = batches(numbered(1), 20, 1)
    assert len(np.unique(floats[:, 0, 1])) == 20


@pytest.mark.parametrize("start", [1, 7, 50])
def test_later_start_goes_on(start):
    whole = batches(numbered(50), 60, 8)
    np.testing.assert_array_equal(
        batches(numbered(50), 60 - start, 8, start=start), whole[start:]
    )


def test_batch_larger_than_data_is_an_error():
    with pytest.raises(UserError, match="11 pictures a batch, 10 in numbered"):
        data.training_batches(numbered(10), 11, seed=0)
