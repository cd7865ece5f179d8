import numpy as np
import pytest
import tensorflow as tf

from sngan_tf.metrics import features

SIDE = 4


def network(batch_size=10, **changes):
    """Features are sums of a picture's columns, logits two of its pixels."""
    arguments = {
        "kind": "classifier",
        "digest": "0123456789abcdef",
        "outputs": outputs,
        "resize": "none",
        "batch_size": batch_size,
    }
    return features.FeatureNetwork(**arguments | changes)


def outputs(images):
    images = tf.cast(images, tf.float32)
    return tf.reduce_sum(images, axis=(1, 3)), images[:, 0, 1:3, 0]


def pictures(count):
    return np.random.randint(0, 256, (count, SIDE, SIDE, 3), np.uint8)


def assert_of(images, found):
    several, logits = found
    np.testing.assert_array_equal(several, images.astype(int).sum((1, 3)))
    np.testing.assert_array_equal(logits, images[:, 0, 1:3, 0])
    assert several.dtype == logits.dtype == np.float32


@pytest.mark.parametrize("count", [1, 9, 10, 11, 37])
def test_call_returns_features_and_logits_of_each_picture_in_order(count):
    images = pictures(count)
    assert_of(images, network()(images))


@pytest.mark.parametrize(
    "sizes", [[37], [1] * 37, [10, 10, 10, 7], [3, 20, 1, 13], [0, 37, 0]]
)
def test_stream_takes_batches_of_any_size(sizes):
    images = pictures(37)
    batches = np.split(images, np.cumsum(sizes)[:-1])
    assert_of(images, network().stream(iter(batches), 37))


def test_call_takes_memory_maps(tmp_path):
    images = pictures(25)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert_of(images, network()(mapped))


def test_batches_are_no_larger_than_batch_size():
    sizes = []

    def recorded(images):
        tf.py_function(lambda images: sizes.append(len(images)), [images], [])
        return outputs(images)

    network(8, outputs=recorded)(pictures(19))
    assert sizes == [8, 8, 3]


@pytest.mark.parametrize(
    ("given", "expected"),
    [([19], [8, 8, 3]), ([3] * 5, [8, 7]), ([9, 0, 2, 10], [8, 8, 5])],
)
def test_stream_keeps_to_batch_size_whatever_it_is_given(given, expected):
    sizes = []

    def recorded(images):
        tf.py_function(lambda images: sizes.append(len(images)), [images], [])
        return outputs(images)

    images = pictures(sum(given))
    batches = np.split(images, np.cumsum(given)[:-1])
    found = network(8, outputs=recorded).stream(
        map(tf.constant, batches), len(images)
    )
    assert_of(images, found)
    assert sizes == expected


@pytest.mark.parametrize(
    ("side", "full_side", "largest"),
    [(4, 32, 10), (32, 32, 10), (64, 32, 2), (128, 32, 1), (64, 64, 10)],
)
def test_larger_pictures_go_through_in_smaller_batches(
    side, full_side, largest
):
    sizes = []

    def recorded(images):
        tf.py_function(lambda images: sizes.append(len(images)), [images], [])
        return outputs(images)

    images = np.zeros((10, side, side, 1), np.uint8)
    network(10, outputs=recorded, full_side=full_side)(images)
    assert (max(sizes), sum(sizes)) == (largest, 10)


@pytest.mark.parametrize("rows", [[3], [36, 0, 5], range(36, 0, -1)])
def test_call_takes_some_of_the_pictures(rows):
    images, rows = pictures(37), np.array(rows)
    assert_of(images[rows], network()(images, rows=rows))


@pytest.mark.parametrize(
    ("sizes", "found"),
    [
        ([10, 10, 4], "24"),
        ([], "0"),
        ([10, 10, 6], "26 or more"),
        ([10, 10, 20], "30 or more"),
    ],
)
def test_fewer_or_more_pictures_than_said_are_an_error(sizes, found):
    batches = [pictures(size) for size in sizes]
    match = f"^`batches` must hold .* Received: count=25, {found} pictures$"
    with pytest.raises(ValueError, match=match):
        network().stream(batches, 25)


def test_no_pictures_at_all_are_an_error():
    match = "^`batches` must .* at least one. Received: count=0, 0 pictures$"
    with pytest.raises(ValueError, match=match):
        network().stream([], 0)


def test_stream_holds_one_batch_at_a_time():
    taken, done = [], []

    def recorded(images):
        tf.py_function(lambda: done.append(None), [], [])
        return outputs(images)

    def batches():
        for batch in np.split(pictures(12), 4):
            assert len(done) == len(taken)
            taken.append(None)
            yield batch

    network(3, outputs=recorded).stream(batches(), 12)
    assert len(done) == 4


def test_name_is_kind_and_start_of_digest():
    assert network().name == "classifier-0123456789ab"
    assert network(kind="inception", digest="f" * 64).name == (
        "inception-ffffffffffff"
    )


def test_other_sizes_of_batches_do_not_make_more_graphs():
    several = network()
    for count in (10, 3, 25, 7, 40, 1):
        several(pictures(count))
    several.stream(np.split(pictures(30), [4, 5, 18]), 30)
    assert several._outputs.experimental_get_tracing_count() <= 2


def test_a_bar_is_shown_if_asked(capsys):
    network()(pictures(25), "some pictures", show=True)
    shown = capsys.readouterr().err
    assert "some pictures: 100%" in shown
    assert "25/25" in shown
    network()(pictures(25), "some pictures")
    assert capsys.readouterr().err == ""
