"""SN-GAN on 1,797 handwritten digits: the main job, minutes on two cores.

    python main.py

Not in the paper. The networks are those of Table 3 at 16 pixels and a quarter
of the width, with spectral normalization on every discriminator weight. Our
choices, because 1,797 pictures are few and minutes are short (docs/digits.md
has what they were chosen by): half the paper's batch, as many small updates
bring more than few large ones; Adam's rate is that of settings D to F, its
betas are those of the paper's ResNets; shifts of a pixel keep the discriminator
from learning the pictures by heart; and the generator is averaged, at first
over few updates so that the first grids show what it draws.
"""

from sngan_tf.runs import arguments
from sngan_tf.runs import fields


def get_config(text=""):
    config = fields.defaults()
    config.operation_threads = 1
    config.data.name = "digits"
    config.data.image_size = 16
    config.data.batch_size = 32
    config.data.shift = 1
    config.network.width = 0.25
    config.updates = 7_500
    config.average_decay = 0.999
    config.optimizer.learning_rate = 1e-3
    config.optimizer.beta_1 = 0.0
    config.optimizer.beta_2 = 0.9
    config.sample_every = 750
    config.evaluate_every = 3_750
    return arguments.apply(config, text)
