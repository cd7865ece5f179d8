r"""The ResNets on ImageNet at 128 pixels: Table 6 and the projection one.

    python main.py --mode=train --workdir=runs/imagenet_concat \
        --config=configs/imagenet128_resnet.py:network=resnet_concat

Published Inception scores at 450,000 updates:

| | IS |
|---|---|
| network=resnet_concat (Fig. 7) | 21.1 +- .35 |
| network=resnet_projection (the authors' code) | 29.7 |

That of the unconditional network, the default here, stands in a figure alone
(Fig. 13). Ours: not measured yet. Batches are those of the authors' four GPUs
together, 64 and 128; one of 16 on a single GPU is known to end far lower.
Batch norm is that of each GPU, as theirs seems to have been: of 32 fakes of the
generator's 128 on four. On eight it is of 16, another experiment;
--config.network.synchronized_batch_norm=True takes all 128 on any number, as
one GPU does by itself.

Pictures with a side below 256 pixels are left out, as in the authors' code.
The first run makes a file of about 60 GB of the others in the cache
($SNGAN_TF_CACHE). The real pictures of the protocol `paper` are those of the
validation set.
"""

from sngan_tf.runs import arguments
from sngan_tf.runs import fields


def get_config(text=""):
    config = fields.defaults()
    config.data.name = "imagenet2012"
    config.data.image_size = 128
    config.data.min_side = 256
    config.evaluation.protocol = "paper"
    config.evaluation.features = "inception"
    config.evaluation.classifier_updates = 15 * 625
    config.evaluation.split = "validation"
    config.network.name = "resnet"
    config.network.synchronized_batch_norm = False
    arguments.set_resnet_training(config)
    config.updates = 450_000
    config.optimizer.decay_from = 400_000
    config.log_every = 1_000
    config.checkpoint_every = 5_000
    config.sample_every = 5_000
    config.evaluate_every = 10_000
    return arguments.apply(config, text)
