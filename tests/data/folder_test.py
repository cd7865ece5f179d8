import itertools
import logging

import numpy as np
import pytest
from PIL import Image

from sngan_tf import data
from sngan_tf.errors import UserError
from sngan_tf.modes import train as train_lib
from sngan_tf.runs import checkpoint
from sngan_tf.runs import workdir as workdir_lib

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
        ("LA", (77, 255), (77,)),
        ("1", 1, (255,)),
        ("I;16", 77 * 256 + 200, (77,)),
        ("RGBA", (1, 2, 3, 255), (1, 2, 3)),
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


def transparent(kind):
    """Returns a picture, clear on the left and dark on the right."""
    clear = Image.new("L", (16, 8), 255)
    clear.paste(0, (0, 0, 8, 8))
    picture = Image.new("RGB", (16, 8), (60, 60, 60))
    if kind in ("RGBA", "LA"):
        picture = picture.convert(kind)
        picture.putalpha(clear)
    elif kind in ("palette", "GIF"):
        picture = Image.new("P", (16, 8), 1)
        picture.putpalette([200, 0, 0, 60, 60, 60])
        picture.paste(0, (0, 0, 8, 8))
    else:  # One of its colours is clear.
        picture = picture.convert(kind)
        colour = (200, 0, 0) if kind == "RGB" else 200
        picture.paste(colour, (0, 0, 8, 8))
    options = {
        "palette": {"transparency": 0},
        "GIF": {"transparency": 0},
        "RGB": {"transparency": (200, 0, 0)},
        "L": {"transparency": 200},
    }
    return picture, options.get(kind, {})


@pytest.mark.parametrize(
    ("background", "level"), [(None, 255), ("white", 255), ("black", 0)]
)
@pytest.mark.parametrize("kind", ["RGBA", "LA", "palette", "GIF", "RGB", "L"])
def test_transparent_picture_is_laid_on_the_background(
    tmp_path, kind, background, level
):
    picture, options = transparent(kind)
    suffix = ".gif" if kind == "GIF" else ".png"
    picture.save(tmp_path / f"a{suffix}", **options)
    options = {"background": background} if background else {}
    (found,) = data.load(f"folder:{tmp_path}", 16, **options).images
    channels = 1 if kind in ("L", "LA") else 3
    # The middle half of the width is seen, at twice the size.
    expected = np.full((16, 16, channels), 60)
    expected[:, :8] = level
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found[:, :4], expected[:, :4])
    np.testing.assert_array_equal(found[:, -4:], expected[:, -4:])


@pytest.mark.parametrize("channels", [1, 3])
def test_half_transparent_picture_is_half_its_background(tmp_path, channels):
    save(tmp_path / "a.png", "RGBA", color=(50, 50, 50, 128))
    (found,) = load(tmp_path, channels=channels).images
    expected = 50 * 128 / 255 + 255 * (1 - 128 / 255)
    np.testing.assert_allclose(found, np.full((8, 8, channels), expected), 1e-2)


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


# Folders of folders.


def save_tree(folder, names):
    """Writes pictures, each of its own gray."""
    for i, name in enumerate(names):
        save(folder / name, "L", color=i)


@pytest.mark.parametrize("streaming", [False, True])
def test_all_below_a_class_folder_is_of_its_class(tmp_path, streaming):
    names = ["cat/1.png", "cat/a/b/2.png", "cat/z/3.png", "dog/young/4.png"]
    save_tree(tmp_path, [*names, "cat/.hidden/5.png", ".git/a/6.png"])
    pictures = load(tmp_path, recursive=True, streaming=streaming)
    np.testing.assert_array_equal(
        np.asarray(pictures.images)[:, 4, 4, 0], [0, 1, 2, 3]
    )
    np.testing.assert_array_equal(pictures.labels, [0, 0, 0, 1])
    assert pictures.class_names == ("cat", "dog")


def test_all_below_a_flat_folder_is_one_set(tmp_path):
    save_tree(tmp_path, ["b/1.png", "a.png", "c/d/2.png", "c/2.png"])
    pictures = load(tmp_path, recursive=True)
    np.testing.assert_array_equal(pictures.images[:, 4, 4, 0], [1, 0, 3, 2])
    assert pictures.labels is None


def test_folders_of_folders_are_read_only_if_asked(tmp_path):
    save_tree(tmp_path, ["cat/1.png", "cat/more/2.png"])
    assert len(load(tmp_path)) == 1
    save_tree(tmp_path, ["dog/more/1.png"])
    with pytest.raises(UserError, match="data.recursive.*dog without any"):
        load(tmp_path)
    assert len(load(tmp_path, recursive=True)) == 3


def test_class_folder_without_pictures_below_is_an_error(tmp_path):
    save_tree(tmp_path, ["cat/1.png"])
    (tmp_path / "dog" / "young").mkdir(parents=True)
    with pytest.raises(UserError, match="dog without any"):
        load(tmp_path, recursive=True)


def test_links_are_followed_as_classes_alone(tmp_path):
    save_tree(tmp_path, ["pictures/cat/1.png", "elsewhere/2.png"])
    (tmp_path / "pictures/cat/loop").symlink_to(tmp_path)
    (tmp_path / "pictures/dog").symlink_to(tmp_path / "elsewhere")
    pictures = load(tmp_path / "pictures", recursive=True)
    np.testing.assert_array_equal(pictures.images[:, 4, 4, 0], [0, 1])
    np.testing.assert_array_equal(pictures.labels, [0, 1])


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


# Classes.


def damage(folder, counts):
    """Writes files that can't be read as pictures: {class name: count}."""
    for name, count in counts.items():
        (folder / name).mkdir(exist_ok=True)
        for i in range(count):
            (folder / name / f"{i}.png").write_bytes(b"not a picture")


@pytest.mark.parametrize(
    ("counts", "options", "message"),
    [
        ({"": 2}, {"conditional": True}, "needs labels.*{}, which has none"),
        ({"": 2}, {"num_classes": 2}, "num_classes=2, 0 classes in folder:{}$"),
        (
            {"cat": 1, "dog": 1},
            {"num_classes": 3},
            "num_classes=3, 2 classes in folder:{}$",
        ),
        (
            {"cat": 2},
            {"conditional": True},
            "two classes or more.*{} with the single class cat$",
        ),
    ],
)
def test_classes_are_checked_before_a_picture_is_read(
    tmp_path, counts, options, message
):
    damage(tmp_path, counts)
    with pytest.raises(UserError, match=message.format(tmp_path)):
        load(tmp_path, **options)
    with pytest.raises(UserError, match="can't be read"):
        load(tmp_path)


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    ("counts", "conditional", "warning"),
    [
        ((3, 3, 3), True, ""),
        ((2, 1, 3), True, "1 of bee, 3 of cat"),
        ((2, 1, 3), False, ""),
    ],
)
def test_unequal_class_folders_are_warned_of(
    tmp_path, caplog, counts, conditional, warning, streaming
):
    for name, count in zip(("ant", "bee", "cat"), counts):
        for number in range(count):
            save(tmp_path / name / f"{number}.png")
    options = {"conditional": conditional, "streaming": streaming}
    pictures = load(tmp_path, num_classes=3, **options)
    np.testing.assert_array_equal(np.bincount(pictures.labels), counts)
    assert (f"{tmp_path} hold unequal numbers" in caplog.text) == bool(warning)
    assert warning in caplog.text


# Pictures to leave out.


def test_small_pictures_are_left_out(tmp_path):
    sizes = [(16, 16), (15, 40), (40, 15), (17, 16), (8, 8)]
    for i, size in enumerate(sizes):
        save(tmp_path / "cat" / f"{i}.png", "L", size, color=i)
        save(tmp_path / "dog" / f"{i}.png", "L", size, color=10 + i)
    pictures = load(tmp_path, min_side=16)
    np.testing.assert_array_equal(pictures.images[:, 4, 4, 0], [0, 3, 10, 13])
    np.testing.assert_array_equal(pictures.labels, [0, 0, 1, 1])


def test_folder_of_small_pictures_alone_is_an_error(tmp_path):
    save(tmp_path / "a.png")
    with pytest.raises(UserError, match="min_side=9, 1 pictures"):
        load(tmp_path, min_side=9)


def test_classes_may_be_unequal_by_what_is_left_out(tmp_path, caplog):
    save(tmp_path / "cat" / "1.png", size=(16, 16))
    save(tmp_path / "dog" / "1.png", size=(8, 8))
    assert len(load(tmp_path, conditional=True)) == 2
    assert not caplog.text
    assert len(load(tmp_path, min_side=16, conditional=True)) == 1
    assert "0 of dog, 1 of cat" in caplog.text


# Pictures that can't be read.

both = pytest.mark.parametrize("streaming", [False, True])


def spoil(path):
    """Leaves what a picture is headed by, and half of the rest."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def save_noise(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (8, 8, 3)
    noise = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    Image.fromarray(noise).save(path)
    return noise


@both
def test_next_of_its_class_stands_in_for_a_bad_picture(
    tmp_path, caplog, streaming
):
    noise = {}
    for seed, key in enumerate(itertools.product(("cat", "dog"), range(3))):
        noise[key] = save_noise(tmp_path / key[0] / f"{key[1]}.png", seed)
    bad = [tmp_path / "cat" / "1.png", tmp_path / "dog" / "2.png"]
    for path in bad:
        spoil(path)
    options = {"streaming": streaming, "on_bad_image": "skip"}
    with caplog.at_level(logging.WARNING):
        pictures = load(tmp_path, conditional=True, **options)
        for _ in range(2):
            images = np.asarray(pictures.images)
    # That of the last dog is the first one.
    stand_ins = {("cat", 1): ("cat", 2), ("dog", 2): ("dog", 0)}
    expected = [noise[stand_ins.get(key, key)] for key in noise]
    np.testing.assert_array_equal(images, expected)
    np.testing.assert_array_equal(pictures.labels, [0, 0, 0, 1, 1, 1])
    warnings = [record.getMessage() for record in caplog.records]
    for path in bad:
        (warning,) = (w for w in warnings if str(path) in w)
        assert warning.endswith("; skipped")
    assert len(warnings) == 2


@both
def test_file_that_is_no_picture_is_skipped(tmp_path, caplog, streaming):
    (tmp_path / "a.png").write_text("not a picture")
    noise = save_noise(tmp_path / "b.png", 0)
    pictures = load(tmp_path, streaming=streaming, on_bad_image="skip")
    np.testing.assert_array_equal(np.asarray(pictures.images), [noise, noise])
    assert f"{tmp_path}/a.png can't be read as a picture" in caplog.text


@both
@pytest.mark.parametrize(
    ("on_bad_image", "message"),
    [
        ("raise", "{}/0.png can't be read as a picture"),
        ("skip", "No picture can be read in {}$"),
    ],
)
def test_folder_of_bad_pictures_alone_is_an_error(
    tmp_path, streaming, on_bad_image, message
):
    damage(tmp_path, {"": 3})
    with pytest.raises(UserError, match=message.format(tmp_path)):
        load(tmp_path, streaming=streaming, on_bad_image=on_bad_image)


def test_class_of_bad_pictures_alone_is_an_error(tmp_path):
    save(tmp_path / "cat" / "1.png")
    damage(tmp_path, {"dog": 2})
    with pytest.raises(UserError, match=f"No picture .* in {tmp_path}/dog"):
        load(tmp_path, on_bad_image="skip")


def test_bad_picture_is_named_when_it_is_needed(tmp_path):
    for i in range(4):
        save_noise(tmp_path / f"{i}.png", i)
    spoil(tmp_path / "2.png")
    images = load(tmp_path, streaming=True).images
    np.testing.assert_array_equal(images[[0, 3]].shape, (2, 8, 8, 3))
    message = f"{tmp_path}/2.png can't be read"
    with pytest.raises(UserError, match=message):
        images[[0, 2]]
    assert message in str(images.error)


@pytest.mark.slow
def test_bad_picture_ends_training_with_its_name(
    tiny_config, tmp_path, monkeypatch
):
    folder, run = tmp_path / "pictures", workdir_lib.Workdir(tmp_path / "run")
    for i in range(64):
        save_noise(folder / f"{i:02}.png", i)
    tiny_config.data.name = f"folder:{folder}"
    tiny_config.data.streaming = True
    tiny_config.updates = 8
    tiny_config.checkpoint_every = 1
    # A picture of the last update of the first epoch.
    pictures = load(folder)
    batches = data.training_batches(
        pictures, 8, tiny_config.seed, start=7, with_labels=False
    )
    (batch,) = batches.take(1).as_numpy_iterator()
    near = (batch[0] == pictures.images).all((1, 2, 3))
    bad = folder / f"{near.argmax():02}.png"
    assert near.sum() == 1
    spoil(bad)
    with pytest.raises(UserError, match=f"^{bad} can't be read"):
        train_lib.train(tiny_config, run)
    assert checkpoint.latest_step(run.checkpoints) == 7
    tiny_config.data.on_bad_image = "skip"
    assert int(train_lib.train(tiny_config, run).step.numpy()) == 8


# Pictures that are read when they are needed.


@pytest.mark.parametrize("min_side", [0, 10])
@pytest.mark.parametrize("channels", [0, 1, 3])
@pytest.mark.parametrize("modes", [("L", "1"), ("RGB", "L"), ("P", "RGBA")])
def test_streamed_pictures_are_those_in_memory(
    tmp_path, modes, channels, min_side
):
    random = np.random.default_rng(0)
    for name, i in itertools.product(("cat", "dog"), range(3)):
        path = tmp_path / name / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        shape = (12, 9 + 2 * i, 3)  # The first is narrower than 10.
        noise = random.integers(0, 256, shape, np.uint8)
        Image.fromarray(noise).convert(modes[i % 2]).save(path)
    memory, streamed = (
        load(
            tmp_path,
            channels=channels,
            min_side=min_side,
            conditional=True,
            streaming=streaming,
        )
        for streaming in (False, True)
    )
    assert streamed.images.shape == memory.images.shape
    assert streamed.images.dtype == memory.images.dtype
    np.testing.assert_array_equal(
        np.asarray(streamed.images), memory.images, strict=True
    )
    rows = [3, 0, 3]
    np.testing.assert_array_equal(streamed.images[rows], memory.images[rows])
    np.testing.assert_array_equal(streamed.images[1:3], memory.images[1:3])
    np.testing.assert_array_equal(streamed.labels, memory.labels, strict=True)
    assert streamed.class_names == memory.class_names
    assert streamed.reference == memory.reference
    assert len(streamed) == len(memory) == (4 if min_side else 6)


def test_streaming_opens_no_file_that_it_knows_enough_of(tmp_path, monkeypatch):
    save_tree(tmp_path, [f"{i}.png" for i in range(4)])
    opened = []
    monkeypatch.setattr(Image, "open", opened.append)
    images = load(tmp_path, streaming=True, channels=1).images
    assert images.shape == (4, 8, 8, 1)
    assert not opened
