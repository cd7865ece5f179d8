import concurrent.futures
import errno
import fcntl
import itertools
import os
import pathlib
import threading

import numpy as np
import pytest
from PIL import Image
from sklearn import datasets

from sngan_tf import data
from sngan_tf.data import pictures as pictures_lib
from sngan_tf.errors import UserError

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


@pytest.mark.parametrize(
    "options", [{"num_classes": 10}, {"conditional": True}]
)
def test_digits_have_ten_classes(options):
    assert len(data.load("digits", 8, **options)) == 1797


def test_other_number_of_classes_is_an_error():
    with pytest.raises(UserError, match="num_classes=9, 10 classes in digits"):
        data.load("digits", 8, num_classes=9)


# Pictures on disk.


@pytest.fixture
def on_disk(monkeypatch, tmp_path):
    """Any set is too large for memory; returns the cache it goes to."""
    monkeypatch.setenv("SNGAN_TF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(pictures_lib, "MEMORY_LIMIT", 0)
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path):
    """Five classes of two pictures of one colour each: 00, 01, 10, ..."""
    for label, number in itertools.product(range(5), range(2)):
        path = tmp_path / "pictures" / f"{label}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        save(path, 10 * label + number)
    return tmp_path / "pictures"


ALL = [0, 1, 10, 11, 20, 21, 30, 31, 40, 41]


def save(path, value, size=(8, 8)):
    Image.new("RGB", size, (value, value, 200)).save(path)


def values(pictures):
    """Returns the value of each picture, which all its pixels must have."""
    found = pictures.images[:, 0, 0, 0]
    size = pictures.images.shape[1]
    expected = np.full((len(found), size, size, 3), 200)
    expected[..., :2] = found[:, None, None, None]
    np.testing.assert_array_equal(pictures.images, expected)
    return found.tolist()


def load(folder, size=8, **options):
    return data.load(f"folder:{folder}", size, **options)


def test_large_set_is_a_file_of_the_cache(on_disk, folder):
    pictures = load(folder)
    assert on_disk in pathlib.Path(pictures.images.filename).parents
    assert values(pictures) == ALL
    np.testing.assert_array_equal(
        pictures.labels, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    )
    assert pictures.class_names == tuple("01234")


@pytest.mark.parametrize("channels", [0, 1, 3])
def test_large_set_is_as_in_memory(monkeypatch, tmp_path, channels):
    memory = data.load("digits", 8, channels=channels)
    monkeypatch.setenv("SNGAN_TF_CACHE", str(tmp_path))
    monkeypatch.setattr(pictures_lib, "MEMORY_LIMIT", 1797 * 64 - 1)
    disk = data.load("digits", 8, channels=channels)
    assert isinstance(disk.images, np.memmap)
    # A gray set has three channels there unless one is asked for.
    images = np.broadcast_to(memory.images, (1797, 8, 8, channels or 3))
    np.testing.assert_array_equal(disk.images, images)
    np.testing.assert_array_equal(disk.labels, memory.labels, strict=True)
    assert disk.class_names == memory.class_names
    assert disk.reference == memory.reference


def test_set_at_the_limit_stays_in_memory(monkeypatch, tmp_path):
    monkeypatch.setenv("SNGAN_TF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(pictures_lib, "MEMORY_LIMIT", 1797 * 64)
    data.load("digits", 8, channels=1)
    assert not (tmp_path / "cache").exists()


def test_gray_beside_colour_on_disk(on_disk, tmp_path):
    Image.new("L", (8, 8), 77).save(tmp_path / "a.png")
    save(tmp_path / "b.png", 5)
    gray, colour = load(tmp_path).images
    np.testing.assert_array_equal(gray, np.full((8, 8, 3), 77))
    np.testing.assert_array_equal(colour[4, 4], [5, 5, 200])


def test_large_set_is_decoded_once(on_disk, folder, fitted):
    first = load(folder)
    assert len(fitted) == 10
    second = load(folder)
    assert len(fitted) == 10
    assert values(second) == ALL
    np.testing.assert_array_equal(second.labels, first.labels)
    assert second.class_names == first.class_names


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda folder: save(folder / "1/0.png", 99), [0, 1, 99, *ALL[3:]]),
        (lambda folder: save(folder / "0/2.png", 99), [0, 1, 99, *ALL[2:]]),
        (lambda folder: (folder / "0/1.png").unlink(), [0, *ALL[2:]]),
        (
            lambda folder: (folder / "0/0.png").rename(folder / "0/2.png"),
            [1, 0, *ALL[2:]],
        ),
    ],
    ids=["changed", "added", "removed", "renamed"],
)
def test_changed_folder_is_read_anew(on_disk, folder, change, expected):
    for path in folder.glob("*/*"):
        os.utime(path, (0, 0))  # Older than any change.
    assert values(load(folder)) == ALL
    change(folder)
    assert values(load(folder)) == expected


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"size": 8}, {"size": 12}),
        ({"channels": 1}, {"channels": 3}),
    ],
)
def test_other_format_is_read_anew(on_disk, folder, before, after):
    load(folder, **before)
    pictures = load(folder, **after)
    assert pictures.images.shape[1] == after.get("size", 8)
    assert values(pictures) == ALL


def test_other_min_side_is_read_anew(on_disk, folder):
    save(folder / "0/2.png", 99, size=(16, 16))
    assert values(load(folder)) == [0, 1, 99, *ALL[2:]]
    assert values(load(folder, min_side=16)) == [99]


def test_interrupted_reading_leaves_nothing(on_disk, folder, monkeypatch):
    fit = pictures_lib.Format.fit

    def interrupted(self, image):
        if image.getpixel((0, 0))[0] == 31:
            raise RuntimeError("interrupted")
        return fit(self, image)

    with monkeypatch.context() as patch:
        patch.setattr(pictures_lib.Format, "fit", interrupted)
        with pytest.raises(UserError, match="interrupted"):
            load(folder)
    assert not [path for path in on_disk.rglob("*") if path.is_file()]
    assert values(load(folder)) == ALL


@pytest.mark.parametrize(
    ("name", "content"),
    [("images", None), ("images", b"half"), ("labels", None), ("labels", b"")],
)
def test_damaged_set_is_made_again(on_disk, folder, caplog, name, content):
    load(folder)
    (path,) = on_disk.rglob(f"{name}.npy")
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    assert values(load(folder)) == ALL
    damaged = (name, content) != ("images", None)
    assert (f"{path.parent} is damaged, made anew" in caplog.text) == damaged


def test_halved_file_of_pictures_is_made_again(on_disk, folder):
    load(folder)
    (path,) = on_disk.rglob("images.npy")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert values(load(folder)) == ALL


def test_two_that_start_together_read_a_set_once(on_disk, folder, fitted):
    barrier = threading.Barrier(3)

    def started(_):
        barrier.wait()
        return load(folder)

    with concurrent.futures.ThreadPoolExecutor() as threads:
        for pictures in threads.map(started, range(3)):
            assert values(pictures) == ALL
    assert len(fitted) == 10
    files = [path.name for path in on_disk.rglob("*") if path.is_file()]
    assert sorted(files) == ["images.npy", "labels.npy"]


def test_without_locks_one_reading_spoils_no_other(on_disk, monkeypatch):
    def refuse(file, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    images = np.random.default_rng(0).integers(0, 256, (4, 2, 2, 3), np.uint8)

    def collect(number, event):
        def examples():
            for i, image in enumerate(images):
                if i == number:
                    event()
                yield image, i

        picture_format = pictures_lib.Format(2, 3)
        return pictures_lib.collect(examples(), 4, picture_format, "noise")

    def fail():
        raise KeyError

    def another_fails():
        with pytest.raises(KeyError):
            collect(0, fail)

    found, labels, _ = collect(2, another_fails)
    np.testing.assert_array_equal(found, images)
    np.testing.assert_array_equal(labels, range(4))


@pytest.mark.parametrize(
    "change", [{"on_bad_image": "skip"}, {"background": "black"}]
)
def test_other_treatment_is_read_anew(on_disk, folder, fitted, change):
    load(folder)
    assert values(load(folder, **change)) == ALL
    assert len(fitted) == 20


def test_another_version_is_read_anew(on_disk, folder, fitted, monkeypatch):
    load(folder)
    monkeypatch.setattr(pictures_lib, "_VERSION", pictures_lib._VERSION + 1)
    assert values(load(folder)) == ALL
    assert len(fitted) == 20


def test_left_out_pictures_shorten_the_file(on_disk, folder):
    for number, value in enumerate((98, 99)):
        save(folder / f"3/{number}.png", value, size=(16, 16 + number))
    for _ in range(2):
        pictures = load(folder, min_side=16)
        assert values(pictures) == [98, 99]
        np.testing.assert_array_equal(pictures.labels, [3, 3])


def test_leaving_out_all_is_an_error_on_disk(on_disk, folder):
    with pytest.raises(UserError, match="min_side=9, 10 pictures"):
        load(folder, min_side=9)


def test_batches_of_a_large_set_are_those_in_memory(folder, monkeypatch):
    memory = load(folder)
    monkeypatch.setenv("SNGAN_TF_CACHE", str(folder.parent / "cache"))
    monkeypatch.setattr(pictures_lib, "MEMORY_LIMIT", 0)
    disk = load(folder)
    assert isinstance(disk.images, np.memmap)
    one, other = (
        data.training_batches(pictures, 4, seed=1, with_labels=True).take(10)
        for pictures in (memory, disk)
    )
    for (images, labels), (images_on_disk, labels_on_disk) in zip(one, other):
        np.testing.assert_array_equal(images_on_disk, images)
        np.testing.assert_array_equal(labels_on_disk, labels)


# What stands for pictures in caches.


@pytest.mark.parametrize("rows", [None, [3, 0]])
def test_pictures_in_memory_stand_for_themselves(rows):
    images = np.random.default_rng(0).integers(0, 256, (2000, 2, 2, 1), "uint8")
    pictures = data.Pictures(images, None, (), "noise")
    chosen = images if rows is None else images[rows]
    assert b"".join(pictures.identity(rows)) == chosen.tobytes()


@pytest.mark.parametrize("streaming", [False, True])
def test_large_pictures_are_known_without_being_read(
    on_disk, folder, fitted, streaming
):
    pictures = load(folder, streaming=streaming)
    del fitted[:]

    def identity(pictures, rows=None):
        return b"".join(pictures.identity(rows))

    whole, part = identity(pictures), identity(pictures, [3, 0])
    assert len({whole, part, identity(pictures, [0, 3])}) == 3
    same = load(folder, streaming=streaming)
    assert (identity(same), identity(same, [3, 0])) == (whole, part)
    assert not fitted
    other = load(folder, streaming=streaming, channels=1)
    assert identity(other) != whole
    save(folder / "4" / "1.png", 99)
    os.utime(folder / "4" / "1.png", (0, 0))
    changed = load(folder, streaming=streaming)
    assert identity(changed) != whole
    assert identity(changed, [3, 0]) != part


# Classes of unequal size.


def test_unequal_classes_of_digits_are_warned_of(caplog):
    data.load("digits", 8)
    assert "unequal" not in caplog.text
    data.load("digits", 8, conditional=True)
    assert "of digits/all hold unequal numbers" in caplog.text
    assert caplog.text.endswith("174 of 8, 183 of 3\n")


@pytest.mark.parametrize("field", ["streaming", "recursive"])
def test_what_is_for_folders_is_refused_elsewhere(field):
    match = f"`data.{field}` must be False .* Received: data.{field}=True, "
    with pytest.raises(UserError, match=match):
        data.load("digits", 8, **{field: True})
