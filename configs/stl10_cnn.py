r"""The standard CNN on STL-10 at 48 pixels: Table 3 with Mg = 6.

    python main.py --config=configs/stl10_cnn.py --workdir=runs/stl10_cnn
    python main.py --config=configs/stl10_cnn.py:loss=hinge \
        --workdir=runs/stl10_cnn_twice --config.updates=200000

Published scores, IS higher and FID lower is better (Table 2, log loss unless
noted):

| method | IS | FID |
|---|---|---|
| weight_clipping | 7.57 +- .10 | 64.2 |
| wgan_gp | 8.42 +- .13 | 55.1 |
| layer_norm | 7.61 +- .12 | 75.6 |
| weight_norm | 7.16 +- .10 | 73.4 |
| orthonormal | 8.56 +- .07 | 46.7 |
| orthonormal, twice the updates | 8.67 +- .08 | 44.2 |
| spectral_norm | 8.28 +- .09 | 53.1 |
| spectral_norm, twice the updates | 8.69 +- .09 | 47.5 |
| spectral_norm, loss=hinge, twice the updates | 8.79 +- .14 | 43.2 |

Ours: not measured yet. Setting B is the best of spectral_norm here (footnote
4), C that of orthonormal (Fig. 4). Not stated by the paper, so our choice: the
100,000 pictures without labels as training data, 10,000 of these as the real
ones of the FID (the test set has 8,000), batch 64, and what cifar10_cnn.py
names.
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
    config.loss = "non_saturating"
    arguments.apply(config, "setting=B")
    return arguments.apply(config, text)
