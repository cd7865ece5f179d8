import concurrent.futures
import dataclasses
import logging
import threading

import numpy as np
import pytest
import tensorflow as tf

from sngan_tf import data
from sngan_tf import files as files_lib
from sngan_tf import metrics
from sngan_tf.errors import UserError
from sngan_tf.metrics import features
from sngan_tf.metrics import reference

COUNT = 25
ROWS = np.array([7, 3, 19, 0, 24, 11, 8, 2])
STATISTICS = ("mean", "factor", "radii_3")


def network(digest="0123456789ab", resize="none", batch_size=3):
    def outputs(images):
        images = tf.cast(images, tf.float32)
        return tf.reduce_sum(images, axis=(1, 3)), images[:, 0, 1:3, 0]

    return features.FeatureNetwork(
        "classifier", digest, outputs, resize, batch_size
    )


def pictures(count=COUNT, labelled=True):
    images = np.random.default_rng(0).integers(0, 256, (count, 4, 4, 1))
    images = images.astype(np.uint8)
    if not labelled:
        return data.Pictures(images, None, (), "synthetic/train")
    # Sorted by class, as data sets often are.
    labels = np.sort(np.arange(count, dtype=np.int32) % 3)
    return data.Pictures(images, labels, ("a", "b", "c"), "synthetic/train")


def expected_outputs(given, rows):
    images = given.images[rows].astype(np.float32)
    return images.sum(axis=(1, 3)), images[:, 0, 1:3, 0]


def assert_of(found, given, rows):
    several, logits = expected_outputs(given, rows)
    np.testing.assert_array_equal(found.features, several)
    np.testing.assert_array_equal(found.logits, logits)
    assert found.features.dtype == found.logits.dtype == np.float32


def assert_statistics(found):
    moments = metrics.Moments.of(found.features)
    np.testing.assert_array_equal(found.moments.mean, moments.mean)
    np.testing.assert_array_equal(found.moments.factor, moments.factor)
    manifold = metrics.Manifold.of(found.features)
    np.testing.assert_array_equal(found.manifold.radii, manifold.radii)
    np.testing.assert_array_equal(found.manifold.features, found.features)


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
def runs(monkeypatch):
    """Returns the list of how many pictures the networks were given."""
    calls = []
    stream = features.FeatureNetwork.stream

    def counted(network, batches, count, *args, **options):
        calls.append(count)
        return stream(network, batches, count, *args, **options)

    monkeypatch.setattr(features.FeatureNetwork, "stream", counted)
    return calls


@pytest.fixture
def made(monkeypatch):
    """Returns the list of what moments and manifolds were made of."""
    calls = []
    for kind in (metrics.Moments, metrics.Manifold):

        def counted(features, kind=kind, of=kind.of):
            calls.append((kind, len(features)))
            return of(features)

        monkeypatch.setattr(kind, "of", counted)
    return calls


@pytest.mark.parametrize("count", [0, 1, 10, COUNT])
def test_chosen_and_others_are_all_rows_once(count):
    chosen, others = reference.choose(pictures(), count, exact=True)
    assert len(chosen) == count
    rows = np.concatenate([chosen, others])
    np.testing.assert_array_equal(np.sort(rows), np.arange(COUNT))


def test_choice_is_fixed():
    first = reference.choose(pictures(), 10, exact=True)
    np.random.seed(1)
    for rows, again in zip(first, reference.choose(pictures(), 10, True)):
        np.testing.assert_array_equal(rows, again)


def test_choice_of_more_begins_with_that_of_fewer():
    few, _ = reference.choose(pictures(), 5, exact=True)
    many, _ = reference.choose(pictures(), 10, exact=True)
    np.testing.assert_array_equal(few, many[:5])


def test_choice_mixes_sorted_classes():
    given = pictures(3000)
    for rows in reference.choose(given, 1500, exact=True):
        counts = np.bincount(given.labels[rows])
        assert min(counts) > 400
        # Also within each, of which scores may take a part.
        assert min(np.bincount(given.labels[rows[:300]])) > 60


@pytest.mark.parametrize("count", [COUNT, COUNT + 1, 1000])
def test_too_few_pictures_are_all_chosen_if_that_will_do(count):
    chosen, others = reference.choose(pictures(), count, exact=False)
    np.testing.assert_array_equal(np.sort(chosen), np.arange(COUNT))
    assert len(others) == 0


def test_too_few_pictures_for_a_protocol_are_an_error():
    with pytest.raises(UserError, match="`evaluation.protocol`") as raised:
        reference.choose(pictures(1200), 10_000, exact=True)
    assert "needs 10,000 real pictures" in str(raised.value)
    assert "Received: 1,200 in synthetic/train" in str(raised.value)


def test_reference_is_what_the_network_makes_of_the_rows(tmp_path):
    given = pictures()
    found = reference.load(network(), given, ROWS, tmp_path)
    assert len(found) == len(ROWS)
    assert_of(found, given, ROWS)
    np.testing.assert_array_equal(found.labels, given.labels[ROWS])
    assert found.name == "synthetic/train"


def test_reference_of_pictures_without_labels_has_none(tmp_path):
    found = reference.load(network(), pictures(labelled=False), ROWS, tmp_path)
    assert found.labels is None
    assert found[:3].labels is None


def test_rows_of_a_reference(tmp_path):
    given = pictures()
    found = reference.load(network(), given, ROWS, tmp_path)
    part = found[[5, 1]]
    assert len(part) == 2
    assert_of(part, given, ROWS[[5, 1]])
    np.testing.assert_array_equal(part.labels, given.labels[ROWS[[5, 1]]])
    assert part.name == found.name


def test_reference_is_kept(tmp_path, runs):
    given = pictures()
    reference.load(network(), given, ROWS, tmp_path)
    again = reference.load(network(), pictures(), ROWS, tmp_path)
    assert runs == [len(ROWS)]
    assert_of(again, given, ROWS)
    np.testing.assert_array_equal(again.labels, given.labels[ROWS])


@pytest.mark.parametrize("size", [4, 12])
def test_moments_and_manifold_are_kept(tmp_path, made, size):
    rows = np.arange(size)
    first = reference.load(network(), pictures(), rows, tmp_path)
    once = [(metrics.Moments, size), (metrics.Manifold, size)]
    assert made == once
    found = reference.load(network(), pictures(), rows, tmp_path)
    for known in (first, found, found[:], found[:size], found[: size + 1]):
        assert known.moments.factor.shape == (4, 4)
        assert len(known.manifold.radii) == size
    assert made == once
    assert_statistics(found)


def test_those_of_a_part_are_made_of_it_when_asked_for(tmp_path, made):
    found = reference.load(network(), pictures(), ROWS, tmp_path)
    made.clear()
    part = found[1:6]
    assert made == []
    for _ in range(2):
        assert len(part.manifold.radii) == 5
        assert part.moments.mean is part.moments.mean
    assert made == [(metrics.Manifold, 5), (metrics.Moments, 5)]
    assert_statistics(part)


def test_moments_and_manifold_are_not_kept_unless_wanted(tmp_path, made, runs):
    found = reference.load(
        network(), pictures(), ROWS, tmp_path, statistics=False
    )
    assert made == []
    assert_statistics(found)
    made.clear()
    found = reference.load(network(), pictures(), ROWS, tmp_path)
    assert len(made) == 2
    for statistics in (True, False):
        reference.load(network(), pictures(), ROWS, tmp_path, statistics)
    assert len(made) == 2
    assert_statistics(found)
    assert runs == [len(ROWS)]


def test_statistics_are_added_to_a_file_of_features(tmp_path, runs, caplog):
    given = pictures()
    reference.load(network(), given, ROWS, tmp_path)
    (path,) = files(tmp_path)
    with np.load(path) as archive:
        kept = {name: archive[name] for name in ("features", "logits")}
    np.savez(path, **kept)
    for _ in range(2):
        found = reference.load(network(), given, ROWS, tmp_path)
        assert_of(found, given, ROWS)
        assert_statistics(found)
    assert runs == [len(ROWS)]
    assert caplog.text == ""
    with np.load(path) as archive:
        assert {*archive.files} == {"features", "logits", *STATISTICS}


def test_reference_is_kept_whatever_the_size_of_batches(tmp_path, runs):
    reference.load(network(batch_size=3), pictures(), ROWS, tmp_path)
    reference.load(network(batch_size=100), pictures(), ROWS, tmp_path)
    assert runs == [len(ROWS)]


def test_labels_may_change_without_the_network(tmp_path, runs):
    given = pictures()
    reference.load(network(), given, ROWS, tmp_path)
    given.labels[:] = 2 - given.labels
    again = reference.load(network(), given, ROWS, tmp_path)
    assert runs == [len(ROWS)]
    np.testing.assert_array_equal(again.labels, given.labels[ROWS])


@pytest.mark.parametrize(
    "change",
    [
        {"rows": ROWS[:-1]},
        {"rows": ROWS[::-1]},
        {"rows": np.append(ROWS[:-1], 5)},
        {"digest": "0123456789ac"},
        {"resize": "bilinear to 32"},
    ],
    ids=["fewer", "order", "another row", "weights", "resize"],
)
def test_another_choice_or_network_is_not_mistaken(tmp_path, runs, change):
    given, change = pictures(), dict(change)
    reference.load(network(), given, ROWS, tmp_path)
    rows = change.pop("rows", ROWS)
    found = reference.load(network(**change), given, rows, tmp_path)
    assert_of(found, given, rows)
    assert runs == [len(ROWS), len(rows)]
    assert len(files(tmp_path)) == 2


@pytest.mark.parametrize("row", [ROWS[0], ROWS[-1]])
def test_a_single_other_pixel_is_not_mistaken(tmp_path, runs, row):
    given = pictures()
    reference.load(network(), given, ROWS, tmp_path)
    given.images[row, 3, 3, 0] ^= 1
    assert_of(reference.load(network(), given, ROWS, tmp_path), given, ROWS)
    assert len(runs) == 2


def test_another_shape_of_the_same_bytes_is_not_mistaken(tmp_path, runs):
    given = pictures()
    reference.load(network(), given, ROWS, tmp_path)
    images = given.images.reshape(-1, 2, 8, 1)
    other = data.Pictures(images, given.labels, ("a", "b", "c"), "other")
    assert_of(reference.load(network(), other, ROWS, tmp_path), other, ROWS)
    assert len(runs) == 2


def test_pictures_that_are_not_chosen_do_not_matter(tmp_path, runs):
    given = pictures()
    reference.load(network(), given, ROWS, tmp_path)
    given.images[1] = 0
    reference.load(network(), given, ROWS, tmp_path)
    assert len(runs) == 1


def test_another_version_is_not_mistaken(tmp_path, runs, monkeypatch):
    reference.load(network(), pictures(), ROWS, tmp_path)
    monkeypatch.setattr(reference, "_VERSION", reference._VERSION + 1)
    reference.load(network(), pictures(), ROWS, tmp_path)
    assert len(runs) == 2


def test_images_may_be_a_memory_map(tmp_path, runs):
    given = pictures()
    np.save(tmp_path / "images.npy", given.images)
    mapped = data.Pictures(
        np.load(tmp_path / "images.npy", mmap_mode="r"),
        given.labels,
        given.class_names,
        given.reference,
    )
    found = reference.load(network(), mapped, ROWS, tmp_path)
    assert_of(found, given, ROWS)
    reference.load(network(), given, ROWS, tmp_path)
    assert len(runs) == 1


def test_streamed_pictures_are_read_once(tmp_path, runs):
    given = pictures()
    read = []

    class Read:
        shape = given.images.shape

        def __getitem__(self, rows):
            read.extend(rows)
            return given.images[rows]

        def __len__(self):
            return len(given)

    streamed = dataclasses.replace(given, images=Read(), digest="0123")
    for _ in range(2):
        found = reference.load(network(), streamed, ROWS, tmp_path)
        assert_of(found, given, ROWS)
        assert read == [*ROWS]
    reference.load(network(), streamed, ROWS[::-1], tmp_path)
    other = dataclasses.replace(streamed, digest="4567")
    reference.load(network(), other, ROWS, tmp_path)
    assert len(runs) == 3


def test_two_that_start_together_make_one(tmp_path, runs):
    barrier = threading.Barrier(3)

    def started(_):
        barrier.wait()
        return reference.load(network(), pictures(), ROWS, tmp_path)

    with concurrent.futures.ThreadPoolExecutor() as threads:
        for found in threads.map(started, range(3)):
            assert_of(found, pictures(), ROWS)
    assert len(runs) == len(files(tmp_path)) == 1


def test_images_may_be_a_view_in_another_order(tmp_path, runs):
    images = np.random.randint(0, 256, (COUNT, 3, 4, 4), np.uint8)
    view = images.transpose(0, 2, 3, 1)
    for given in (view, np.ascontiguousarray(view)):
        given = data.Pictures(given, None, (), "synthetic/train")
        found = reference.load(network(), given, ROWS, tmp_path)
        assert_of(found, given, ROWS)
    assert len(runs) == 1


def test_cache_is_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("SNGAN_TF_CACHE", str(tmp_path / "there"))
    reference.load(network(), pictures(), ROWS)
    (path,) = files(tmp_path)
    assert path.parent == files_lib.cache_directory() / "features"
    assert path.suffix == ".npz"


def overwritten(content):
    """Changes the last bytes of the first array's data."""
    start = content.index(b"logits.npy") - 64
    return content[:start] + bytes(16) + content[start + 16 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: b"no archive",
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        overwritten,
    ],
    ids=["empty", "text", "half", "last byte", "overwritten"],
)
def test_damaged_file_is_made_anew(tmp_path, runs, caplog, damage):
    given = pictures()
    reference.load(network(), given, ROWS, tmp_path)
    (path,) = files(tmp_path)
    content = path.read_bytes()
    assert damage(content) != content
    path.write_bytes(damage(content))
    with caplog.at_level(logging.WARNING):
        remade = reference.load(network(), given, ROWS, tmp_path)
    assert caplog.text.count(f"{path} is damaged, made anew") == 1
    assert_of(remade, given, ROWS)
    assert len(runs) == 2
    assert_of(reference.load(network(), given, ROWS, tmp_path), given, ROWS)
    assert len(runs) == 2


WHOLE = {
    "features": np.ones((8, 4)),
    "logits": np.ones((8, 2)),
    "mean": np.ones(4),
    "factor": np.ones((4, 4)),
    "radii_3": np.ones(8),
}


@pytest.mark.parametrize(
    "arrays",
    [
        {"features": np.ones((8, 4))},
        {"features": np.ones((7, 4)), "logits": np.ones((8, 2))},
        {"features": np.ones((8, 4)), "logits": np.ones((9, 2))},
        {"features": np.ones(8), "logits": np.ones((8, 2))},
        {"features": np.ones((8, 4)), "logits": np.ones((8, 2, 1))},
        {"features": np.ones(()), "logits": np.ones((8, 2))},
        {**WHOLE, "mean": np.ones(3)},
        {**WHOLE, "factor": np.ones((3, 4))},
        {**WHOLE, "factor": np.ones(4)},
        {**WHOLE, "radii_3": np.ones(7)},
        {**WHOLE, "others": np.ones(8)},
    ],
    ids=[
        "no logits",
        "few",
        "many",
        "one axis",
        "three axes",
        "no axis",
        "mean of fewer",
        "factor of fewer",
        "factor of one axis",
        "few radii",
        "another array",
    ],
)
def test_file_of_other_arrays_is_made_anew(tmp_path, runs, caplog, arrays):
    given = pictures()
    reference.load(network(), given, ROWS, tmp_path)
    (path,) = files(tmp_path)
    np.savez(path, **arrays)
    with caplog.at_level(logging.WARNING):
        remade = reference.load(network(), given, ROWS, tmp_path)
    assert f"{path} is damaged, made anew" in caplog.text
    assert_of(remade, given, ROWS)
    reference.load(network(), given, ROWS, tmp_path)
    assert len(runs) == 2


def test_no_other_file_is_left(tmp_path):
    reference.load(network(), pictures(), ROWS, tmp_path)
    (path,) = files(tmp_path)
    with np.load(path) as archive:
        assert {*archive.files} == {"features", "logits", *STATISTICS}


def test_file_is_in_its_place_only_once_it_is_whole(
    tmp_path, monkeypatch, caplog
):
    def interrupted(path, **arrays):
        path.write_bytes(b"half a file")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", interrupted)
    with pytest.raises(KeyboardInterrupt):
        reference.load(network(), pictures(), ROWS, tmp_path)
    monkeypatch.undo()
    with caplog.at_level(logging.WARNING):
        found = reference.load(network(), pictures(), ROWS, tmp_path)
    assert_of(found, pictures(), ROWS)
    assert "damaged" not in caplog.text


def test_a_full_disk_is_a_warning(tmp_path, monkeypatch, caplog, runs):
    def full(path, **arrays):
        path.write_bytes(b"half a file")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    given = pictures()
    with caplog.at_level(logging.WARNING):
        found = reference.load(network(), given, ROWS, tmp_path)
    assert "can't be kept" in caplog.text
    assert "No space left on device" in caplog.text
    assert_of(found, given, ROWS)
    assert files(tmp_path) == []
    reference.load(network(), given, ROWS, tmp_path)
    assert len(runs) == 2


def test_a_cache_that_cannot_be_made_is_a_warning(tmp_path, caplog):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with caplog.at_level(logging.WARNING):
        found = reference.load(network(), pictures(), ROWS, blocked)
    assert "can't be kept" in caplog.text
    assert_of(found, pictures(), ROWS)


def test_a_bar_is_shown_but_for_what_was_kept(tmp_path, capsys):
    reference.load(network(), pictures(), ROWS, tmp_path)
    shown = capsys.readouterr().err
    assert "classifier, real pictures: 100%" in shown
    assert "8/8" in shown
    reference.load(network(), pictures(), ROWS, tmp_path)
    assert capsys.readouterr().err == ""
