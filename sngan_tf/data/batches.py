"""The tf.data pipeline that trains on pictures."""

import tensorflow as tf

from sngan_tf.data.pictures import Pictures
from sngan_tf.errors import UserError


def training_batches(
    pictures: Pictures,
    batch_size: int,
    seed: int,
    start: int = 0,
    with_labels: bool = False,
    discriminator_steps: int = 1,
    replicas: range = range(1),
    num_replicas: int = 1,
) -> tf.data.Dataset:
    """Endless uint8 batches, functions of seed and position.

    The pictures of all updates stand in one line, in which every epoch is a
    new permutation of all pictures. Which these are depends on the seed and
    the place in that line alone, so a run goes on where it stopped, and
    replicas share what one would have. They travel as bytes, of which the
    step of a `GAN` makes floats.

    Args:
        pictures: `Pictures`, at least those of one update.
        batch_size: Pictures per discriminator update, over all replicas.
        seed: Integer that the order depends on.
        start: Index of the first update.
        with_labels: Whether each batch is a pair of pictures and labels.
        discriminator_steps: Discriminator updates per generator update, which
            a batch is for, one after the other.
        replicas: Those whose batches are made, in turn: a range.
        num_replicas: How many there are, a divisor of `batch_size`.

    Returns:
        A `tf.data.Dataset` of uint8 `(size, height, width, channels)`, with
        labels of pairs of these and int32 `(size,)`, where `size` is
        `batch_size` x `discriminator_steps` / `num_replicas`.

    Raises:
        UserError: If an update needs more pictures than there are.
    """
    check_enough(pictures, batch_size, discriminator_steps)
    count = len(pictures)
    per_update = batch_size * discriminator_steps
    labels = tf.constant(pictures.labels) if with_labels else None
    seed = tf.constant(seed, tf.int64)
    share = batch_size // num_replicas

    def rows_of(epoch, places):
        return tf.random.experimental.index_shuffle(
            places, tf.stack([seed, epoch]), tf.constant(count - 1, tf.int64)
        )

    def batch(index):
        update = index // len(replicas)
        replica = replicas.start + index % len(replicas)
        firsts = (
            update * per_update
            + tf.range(discriminator_steps, dtype=tf.int64) * batch_size
            + replica * share
        )
        places = firsts[:, tf.newaxis] + tf.range(share, dtype=tf.int64)
        places = tf.reshape(places, (-1,))
        epochs, places = places // count, places % count
        # An update needs no more than the data, so it meets two epochs at most.
        rows = tf.where(
            epochs == epochs[0],
            rows_of(epochs[0], places),
            rows_of(epochs[0] + 1, places),
        )
        images = _read(pictures.images, rows)
        return (images, tf.gather(labels, rows)) if with_labels else images

    indices = tf.data.Dataset.range(start * len(replicas), tf.int64.max)
    return indices.map(batch, num_parallel_calls=tf.data.AUTOTUNE).prefetch(
        tf.data.AUTOTUNE
    )


def check_enough(
    pictures: Pictures, batch_size: int, discriminator_steps: int
) -> None:
    """Raises a UserError if an update needs more pictures than there are."""
    if batch_size * discriminator_steps > len(pictures):
        raise UserError(
            "`data.batch_size` x `discriminator_steps` must not be larger than "
            f"the data. Received: data.batch_size={batch_size}, "
            f"discriminator_steps={discriminator_steps}, {len(pictures)} "
            f"pictures in {pictures.reference}"
        )


def _read(images, rows):
    """Returns the pictures of these rows, as a tensor."""
    # From where they are: as a constant they would be in memory twice.
    batch = tf.numpy_function(lambda rows: images[rows], [rows], tf.uint8)
    return tf.ensure_shape(batch, (rows.shape[0], *images.shape[1:]))
