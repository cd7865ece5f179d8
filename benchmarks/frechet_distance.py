"""Times the Frechet distance against tensorflow-gan's and SciPy's sqrtm.

    python benchmarks/frechet_distance.py

Each takes the same features, 10,000 x 2,048 of each set, and starts from these,
so that moments count too. Prints the median of the rounds in seconds, ours as a
share of the faster of the others, and how far the values are apart.
"""

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from scipy import linalg

from sngan_tf import metrics
from sngan_tf.metrics import tfgan


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=2_048)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    real, fake = features(arguments.samples, arguments.size)
    contestants = {
        "sngan_tf": metrics.frechet_distance,
        "tensorflow-gan": tensorflow_gan,
        "scipy sqrtm": sqrtm,
    }
    seconds = {name: [] for name in contestants}
    values = {}
    for _ in range(arguments.rounds):
        for name, distance in contestants.items():
            began = time.perf_counter()
            values[name] = distance(real, fake)
            seconds[name].append(time.perf_counter() - began)
    medians = {name: np.median(times) for name, times in seconds.items()}
    fastest = min(medians["tensorflow-gan"], medians["scipy sqrtm"])
    print(f"{'':16}{'seconds':>10}{'value':>18}{'difference':>14}")
    for name, median in medians.items():
        difference = abs(values[name] / values["sngan_tf"] - 1)
        print(f"{name:16}{median:10.2f}{values[name]:18.9f}{difference:14.1e}")
    print(f"ours / the faster: {medians['sngan_tf'] / fastest:.2f}")


def features(samples, size):
    """Returns two sets, not negative and of decaying variance, as pool3's."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(size, size)) / np.sqrt(1 + np.arange(size))
    sets = []
    for shift, scale in ((0.0, 1.0), (0.05, 1.1)):
        latents = scale * rng.normal(size=(samples, size)) + shift
        sets.append(np.maximum(latents @ mixing.T, 0).astype(np.float32))
    return sets


def tensorflow_gan(real, fake):
    module = tfgan.classifier_metrics()
    distance = module.frechet_classifier_distance_from_activations
    # In float64, as it would round the result to float32 otherwise.
    return float(distance(tf.cast(real, tf.float64), tf.cast(fake, tf.float64)))


def sqrtm(real, fake):
    real, fake = real.astype(np.float64), fake.astype(np.float64)
    c1, c2 = np.cov(real, rowvar=False), np.cov(fake, rowvar=False)
    root = linalg.sqrtm(c1 @ c2).real
    means = np.sum((real.mean(axis=0) - fake.mean(axis=0)) ** 2)
    return float(means + np.trace(c1) + np.trace(c2) - 2 * np.trace(root))


if __name__ == "__main__":
    main()
