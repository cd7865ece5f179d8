import base64
import io

import numpy as np
import pytest
from PIL import Image

from sngan_tf.gan import sampler
from sngan_tf.runs import evolution

PLENTY = 10**7


def opened(uri):
    start = "data:image/webp;base64,"
    assert uri.startswith(start)
    return Image.open(io.BytesIO(base64.b64decode(uri.removeprefix(start))))


def frames(picture):
    for i in range(picture.n_frames):
        picture.seek(i)
        yield np.asarray(picture.convert("RGB"), int)


def save(folder, steps, size=16, count=9, channels=1):
    """Writes grids of pictures that are brighter the later they are."""
    for i, step in enumerate(steps):
        images = np.full((count, size, size, channels), 8 * i % 256, np.uint8)
        sampler.save_grid(folder / f"step_{step:08d}.png", images)


def test_folder_without_grids_has_none(tmp_path):
    assert evolution.of(tmp_path, 16, PLENTY) is None
    (tmp_path / "evolution.png").touch()
    (tmp_path / "last_step_00000004_seed_00000000_count_9.png").touch()
    assert evolution.of(tmp_path, 16, PLENTY) is None
    assert evolution.of(tmp_path / "nowhere", 16, PLENTY) is None


def test_one_grid_is_not_animated(tmp_path):
    save(tmp_path, [5])
    found = evolution.of(tmp_path, 16, PLENTY)
    assert found.animation == ""
    ((step, uri),) = found.rows
    assert step == 5
    assert opened(uri).size == (3 * 34, 34)


@pytest.mark.parametrize("channels", [1, 3])
def test_rows_and_frames_are_of_the_grids_in_order(tmp_path, channels):
    save(tmp_path, range(0, 50, 5), channels=channels)
    found = evolution.of(tmp_path, 16, PLENTY)
    assert len(found.rows) <= 8
    assert (found.rows[0][0], found.rows[-1][0]) == (0, 45)
    assert found.steps == tuple(range(0, 50, 5))
    for step, uri in found.rows:
        level = np.asarray(opened(uri).convert("L"), int)[15, 15]
        assert level == pytest.approx(8 * step / 5, abs=6)
    picture = opened(found.animation)
    assert picture.size == (found.width, found.height)
    assert found.width == 3 * 34
    levels = [frame[15, 15].mean() for frame in frames(picture)]
    np.testing.assert_allclose(levels, 8 * np.arange(10), atol=6)
    # Below stands which update it is.
    captions = [frame[-18:] for frame in frames(picture)]
    assert min(caption.min() for caption in captions) < 100
    assert np.abs(captions[0] - captions[1]).max() > 100


def test_large_pictures_are_cut_to_whole_ones(tmp_path):
    save(tmp_path, [0, 1], size=128, count=64)
    found = evolution.of(tmp_path, 128, PLENTY)
    assert (found.width, found.height) == (4 * 130, 2 * 130 + 18)
    save(tmp_path, [0, 1], size=700, count=4)
    found = evolution.of(tmp_path, 700, PLENTY)
    assert (found.width, found.height) == (702, 702 + 18)


def test_grids_of_another_count_are_cut_to_the_smaller(tmp_path):
    save(tmp_path, [0], count=16)
    save(tmp_path, [1], count=9)
    found = evolution.of(tmp_path, 16, PLENTY)
    assert (found.width, found.height) == (3 * 34, 3 * 34 + 18)


def test_animation_has_as_many_frames_as_there_is_room_for(tmp_path):
    save(tmp_path, range(100))
    sizes = {}
    for most in (PLENTY, 1):
        found = evolution.of(tmp_path, 16, most)
        assert (found.steps[0], found.steps[-1]) == (0, 99)
        sizes[most] = opened(found.animation).n_frames
        assert sizes[most] == len(found.steps)
    assert sizes[1] <= 6 < sizes[PLENTY] <= 24
