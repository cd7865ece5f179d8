"""The standard CNN on CIFAR-10.

python main.py --config=configs/cifar10_cnn.py --workdir=runs/cifar10_cnn
"""

from configs import arguments
from configs import default


def get_config(text=""):
    config = default.get_config()
    config.data.name = "cifar10"
    config.loss = "non_saturating"
    return arguments.apply(config, text)
