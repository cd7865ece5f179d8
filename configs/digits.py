"""SN-GAN on 1,797 handwritten digits: the main job, minutes on two cores.

    python main.py

Not in the paper. The networks are those of Table 3 at 16 pixels and a quarter
of the width, with spectral normalization on every discriminator weight. Our
choices, because 1,797 pictures are few and minutes are short: a larger
learning rate than any setting with n_dis = 1, shifts of two pixels so that
the discriminator doesn't learn the pictures by heart, and an averaged
generator.
"""

from configs import default


def get_config():
    config = default.get_config()
    config.data.name = "digits"
    config.data.image_size = 16
    config.data.shift = 2
    config.network.width = 0.25
    config.updates = 10_000
    config.average_decay = 0.999
    config.optimizer.learning_rate = 5e-4
    config.sample_every = 500
    config.evaluate_every = 2_500
    return config
