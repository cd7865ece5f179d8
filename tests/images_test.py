import numpy as np
import pytest
import tensorflow as tf

from sngan_tf import files
from sngan_tf import images
from sngan_tf.errors import UserError

LEVELS = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)


def random_pictures(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def test_dequantize_adds_less_than_a_level():
    pictures = np.tile(LEVELS, (100, 1, 1, 1))
    floats = images.dequantize(pictures, (1, 2)).numpy()
    assert floats.dtype == np.float32
    # Both sides are exact in float64.
    noise = floats.astype(np.float64) - (pictures / 128.0 - 1.0)
    assert noise.min() >= 0
    assert noise.max() < 1 / 128
    np.testing.assert_allclose(noise.mean(), 1 / 256, rtol=0.02)
    assert floats.min() >= -1
    assert floats.max() < 1


def test_noise_is_a_function_of_the_seed():
    once, again, other = (
        images.dequantize(LEVELS, seed) for seed in ((3, 4), (3, 4), (3, 5))
    )
    np.testing.assert_array_equal(once, again)
    assert not np.array_equal(once, other)


def test_floats_are_the_middle_of_levels():
    floats = images.to_float(LEVELS).numpy()
    assert floats.dtype == np.float32
    np.testing.assert_array_equal(floats, (LEVELS + 0.5) / 128.0 - 1.0)
    np.testing.assert_array_equal(images.to_uint8(floats), LEVELS)


@pytest.mark.parametrize("seed", range(5))
def test_to_uint8_inverts_dequantize(seed):
    """On so many pixels that noise at its largest is among them."""
    pictures = np.tile(LEVELS, (4096, 1, 1, 1))
    floats = images.dequantize(pictures, (seed, 0))
    np.testing.assert_array_equal(images.to_uint8(floats), pictures)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_to_uint8_clips(dtype):
    values = tf.constant([-np.inf, -1.5, -1, 0, 1, 1.5, np.inf], dtype)
    levels = images.to_uint8(values)
    np.testing.assert_array_equal(levels, [0, 0, 0, 128, 255, 255, 255])


@pytest.mark.parametrize(
    ("count", "columns", "shape"),
    [(1, None, (1, 1)), (4, None, (2, 2)), (5, None, (2, 3)), (7, 5, (2, 5))],
)
def test_grid_holds_every_picture_in_reading_order(count, columns, shape):
    pictures = random_pictures(count, 2, 3, 3)
    grid = images.grid(pictures, columns)
    rows, columns = shape
    assert grid.shape == (2 * rows, 3 * columns, 3)
    for i in range(rows * columns):
        row, column = divmod(i, columns)
        cell = grid[2 * row : 2 * row + 2, 3 * column : 3 * column + 3]
        np.testing.assert_array_equal(cell, pictures[i] if i < count else 0)


def test_grid_has_gray_gaps_below_and_right_of_pictures():
    grid = images.grid(random_pictures(2, 2, 3, 1), columns=2, gap=1)
    assert grid.shape == (3, 8, 1)
    np.testing.assert_array_equal(grid[2], 128)
    np.testing.assert_array_equal(grid[:, [3, 7]], 128)


@pytest.mark.parametrize("channels", [1, 3])
def test_png_round_trip(tmp_path, channels):
    picture = random_pictures(5, 7, channels)
    path = tmp_path / "new" / "folder" / "picture.png"
    images.save_png(path, random_pictures(2, 2, 1))
    images.save_png(path, picture)
    np.testing.assert_array_equal(images.read_png(path), picture)
    assert list(path.parent.iterdir()) == [path]


def test_failed_save_leaves_the_old_picture(tmp_path, monkeypatch):
    path, picture = tmp_path / "picture.png", random_pictures(4, 4, 1)
    images.save_png(path, picture)

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(UserError, match=f"{path} .*disk full"):
        images.save_png(path, 255 - picture)
    np.testing.assert_array_equal(images.read_png(path), picture)


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n\x00", b"GIF"])
def test_damaged_file_is_one_line(tmp_path, content):
    path = tmp_path / "damaged.png"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"^{path} must be a PNG"):
        images.read_png(path)


@pytest.mark.parametrize(
    ("side", "full_side", "size"),
    [
        (8, 32, 500),
        (32, 32, 500),
        (64, 32, 125),
        (128, 32, 31),
        (1024, 32, 1),
        (299, 299, 500),
        (1024, 299, 42),
    ],
)
def test_batches_are_of_bounded_numbers_of_pixels(side, full_side, size):
    assert images.batch_size(500, side, full_side) == size
