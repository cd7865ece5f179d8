r"""The standard CNN on CIFAR-10: Table 3, and most of Table 2.

    python main.py --config=configs/cifar10_cnn.py --workdir=runs/cifar10_cnn
    python main.py --config=configs/cifar10_cnn.py:method=wgan_gp,setting=D \
        --workdir=runs/cifar10_wgan_gp_d

Published scores, IS higher and FID lower is better (Table 2, log loss unless
noted; 5,000 generated pictures, ten times for the IS, and 10,000 real ones for
the FID):

| method | IS | FID |
|---|---|---|
| weight_clipping | 6.41 +- .11 | 42.6 |
| gan_gp | 6.93 +- .08 | 37.7 |
| wgan_gp | 6.68 +- .06 | 40.2 |
| batch_norm | 6.27 +- .10 | 56.3 |
| layer_norm | 7.19 +- .12 | 33.9 |
| weight_norm | 6.84 +- .07 | 34.7 |
| orthonormal | 7.40 +- .12 | 29.0 |
| spectral_norm | 7.42 +- .08 | 29.3 |
| spectral_norm, loss=hinge | 7.58 +- .12 | 25.5 |
| wgan_gp_frobenius_norm (Table 7) | collapsed | collapsed |
| wgan_gp_weight_norm (Table 7) | 6.36 +- .04 | 42.4 |
| wgan_gp_spectral_norm (Table 7) | 7.20 +- .08 | 32.0 |

Ours: not measured yet. Not stated by the paper, so our choice: batch 64, N(0,
0.02) weights (both as the authors' CNN code), padding that keeps Table 3's
sizes, setting C for every method but those of WGAN-GP, which take A, that of
their authors (the paper shows the best of six settings, and names it for few),
and the orthonormal coefficient 1e-3 (`--config.coefficient`).
"""

from sngan_tf.runs import arguments
from sngan_tf.runs import fields


def get_config(text=""):
    config = fields.defaults()
    config.data.name = "cifar10"
    config.evaluation.protocol = "paper"
    config.evaluation.features = "inception"
    config.evaluation.classifier_updates = 15 * 625  # Epochs x their updates.
    config.loss = "non_saturating"
    return arguments.apply(config, text)
