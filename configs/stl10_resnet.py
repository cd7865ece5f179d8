"""The ResNet on STL-10 at 48 pixels: Table 5.

    python main.py --config=configs/stl10_resnet.py --workdir=runs/stl10_resnet

Published scores, IS higher and FID lower is better (Table 2, hinge loss, mean
and deviation over seeds):

| | IS | FID |
|---|---|---|
| spectral_norm | 9.10 +- .04 | 40.1 +- .50 |
| orthonormal | 8.72 +- .06 | 42.4 +- .99 |

Ours: not measured yet. Not stated anywhere, so our choice: the batches and the
decay of cifar10_resnet.py, the 100,000 pictures without labels, and 10,000 of
these as the real ones of the FID (the test set has 8,000).
"""

from sngan_tf.runs import arguments
from sngan_tf.runs import fields


def get_config(text=""):
    config = fields.defaults()
    config.data.name = "stl10"
    config.data.split = "unlabelled"
    config.data.image_size = 48
    config.evaluation.protocol = "paper"
    config.evaluation.features = "inception"
    config.evaluation.split = "unlabelled"
    config.network.name = "resnet"
    arguments.set_resnet_training(config)
    return arguments.apply(config, text)
