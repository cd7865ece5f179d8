"""`--mode=sample`: pictures of a trained generator."""

import numpy as np

from sngan_tf.errors import writing
from sngan_tf.gan import sampler as sampler_lib
from sngan_tf.runs import build


def sample(config, workdir):
    """Writes `samples/seed_NNNNNNNN.png`, and the bare pictures as `.npy`.

    Returns:
        The path of the grid.
    """
    gan = build.restored_gan(config, workdir)
    sampling = config.sampling
    images = gan.sampler.many(sampling.seed, sampling.count, sampling.label)
    path = workdir.samples / f"seed_{sampling.seed:08d}.png"
    sampler_lib.save_grid(path, images)
    with writing(path.with_suffix(".npy")):
        np.save(path.with_suffix(".npy"), images)
    return path
