import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf

from sngan_tf import data
from sngan_tf.errors import UserError


def numbered(count):
    """Pictures that bear their number in two pixels of different levels."""
    images = np.zeros((count, 2, 1, 1), np.uint8)
    images[:, 0, 0, 0], images[:, 1, 0, 0] = divmod(np.arange(count), 256)
    return data.Pictures(images, None, (), "numbered")


def batches(pictures, count, batch_size, seed=0, start=0):
    dataset = data.training_batches(pictures, batch_size, seed, start)
    return np.stack(list(dataset.take(count).as_numpy_iterator()))


def numbers(images):
    levels = images.astype(int)
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


@pytest.mark.parametrize("start", [1, 7, 50])
def test_later_start_goes_on(start):
    whole = batches(numbered(50), 60, 8)
    np.testing.assert_array_equal(
        batches(numbered(50), 60 - start, 8, start=start), whole[start:]
    )


def test_pictures_are_in_memory_once():
    """The pipeline reads them from where they are, and holds no copy."""
    pictures = labelled(50)
    dataset = data.training_batches(pictures, 4, seed=0, with_labels=True)
    held = [
        tensor
        for each in functions_of(dataset)
        for tensor in each.captured_inputs
        if tensor.dtype == tf.uint8
    ]
    assert held == []
    # What is in memory is what it reads, also where it has changed since.
    pictures.images[:] = 7
    (images, _), *_ = dataset.take(1).as_numpy_iterator()
    np.testing.assert_array_equal(images, np.full((4, 2, 1, 1), 7, np.uint8))


def functions_of(dataset):
    """Returns the graphs of a pipeline."""
    found = [function.function for function in dataset._functions()]
    for source in dataset._inputs():
        found += functions_of(source)
    return found


def test_batch_larger_than_data_is_an_error():
    with pytest.raises(
        UserError,
        match="batch_size=11, discriminator_steps=1, 10 pictures in numbered",
    ):
        data.training_batches(numbered(10), 11, seed=0)


# Labels, and pictures on disk.


def labelled(count):
    """Numbered pictures, each labelled by a scrambled number."""
    pictures = numbered(count)
    labels = np.random.default_rng(0).permutation(count).astype(np.int32)
    return dataclasses.replace(pictures, labels=labels)


@pytest.mark.parametrize("start", [0, 9])
@pytest.mark.parametrize(("count", "batch_size"), [(50, 8), (10, 9), (6, 6)])
def test_labels_go_with_their_pictures(count, batch_size, start):
    pictures = labelled(count)
    dataset = data.training_batches(
        pictures, batch_size, seed=0, start=start, with_labels=True
    )
    drawn = list(dataset.take(20).as_numpy_iterator())
    assert len(drawn) == 20
    for images, labels in drawn:
        np.testing.assert_array_equal(
            labels, pictures.labels[numbers(images)], strict=True
        )


def test_labels_change_no_picture():
    pictures = labelled(50)
    pairs = data.training_batches(pictures, 8, seed=0, with_labels=True)
    images = [images for images, _ in pairs.take(9).as_numpy_iterator()]
    np.testing.assert_array_equal(images, batches(pictures, 9, 8))


@pytest.mark.parametrize("with_labels", [False, True])
def test_pictures_on_disk_give_the_same_batches(tmp_path, with_labels):
    memory = labelled(50)
    np.save(tmp_path / "images.npy", memory.images)
    images = np.load(tmp_path / "images.npy", mmap_mode="r")
    disk = dataclasses.replace(memory, images=images)
    datasets = [
        data.training_batches(pictures, 8, seed=0, with_labels=with_labels)
        for pictures in (memory, disk)
    ]
    assert datasets[0].element_spec == datasets[1].element_spec
    for one, other in zip(*(dataset.take(20) for dataset in datasets)):
        for x, y in zip(tf.nest.flatten(one), tf.nest.flatten(other)):
            np.testing.assert_array_equal(x, y)


# Replicas, each of which has its share of every discriminator update.


def updates_of(discriminator_steps, num_replicas, start=0):
    """Returns pictures and labels of 4 updates of all replicas together.

    Returns:
        `(4, discriminator_steps, 8, 2, 1, 1)` and `(4, discriminator_steps,
        8)`, the replicas' shares one after the other.
    """
    dataset = data.training_batches(
        labelled(50),
        8,
        seed=0,
        start=start,
        with_labels=True,
        discriminator_steps=discriminator_steps,
        replicas=range(num_replicas),
        num_replicas=num_replicas,
    )
    drawn = dataset.take(4 * num_replicas).as_numpy_iterator()
    shares = (discriminator_steps, 8 // num_replicas)
    updates = (4, discriminator_steps, 8)
    parts = []
    for x in map(np.stack, zip(*drawn)):
        # The replicas come in turn, each with its share of all steps.
        x = x.reshape(4, num_replicas, *shares, *x.shape[2:])
        parts.append(np.swapaxes(x, 1, 2).reshape(*updates, *x.shape[4:]))
    return parts


@pytest.mark.parametrize("start", [0, 5])
@pytest.mark.parametrize("num_replicas", [2, 4])
@pytest.mark.parametrize("discriminator_steps", [1, 3])
def test_replicas_share_what_one_has(discriminator_steps, num_replicas, start):
    """In its order too."""
    images, labels = updates_of(discriminator_steps, 1, start)
    assert images.shape == (4, discriminator_steps, 8, 2, 1, 1)
    shared = updates_of(discriminator_steps, num_replicas, start)
    np.testing.assert_array_equal(shared[0], images, strict=True)
    np.testing.assert_array_equal(shared[1], labels, strict=True)


def test_discriminator_steps_share_one_line_of_pictures():
    """Two updates of 3 steps have the pictures of 6 updates of one."""
    dataset = data.training_batches(
        numbered(50), 8, seed=0, discriminator_steps=3
    )
    images = np.concatenate([*dataset.take(2).as_numpy_iterator()])
    np.testing.assert_array_equal(
        images, np.concatenate([*batches(numbered(50), 6, 8)])
    )


@pytest.mark.parametrize("replicas", [range(2), range(2, 4), range(4)])
def test_batches_of_a_host_are_its_replicas_in_turn(replicas):
    def drawn(replicas, count):
        dataset = data.training_batches(
            numbered(50), 8, seed=0, start=3, replicas=replicas, num_replicas=4
        )
        return [*dataset.take(count).as_numpy_iterator()]

    together = drawn(replicas, 3 * len(replicas))
    for i, replica in enumerate(replicas):
        alone = drawn(range(replica, replica + 1), 3)
        np.testing.assert_array_equal(together[i :: len(replicas)], alone)
