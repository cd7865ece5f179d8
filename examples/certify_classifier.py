r"""Classifies digits, and says how far each prediction can be trusted.

    python examples/certify_classifier.py FIGURE.png

One convolutional classifier of scikit-learn's digits, plain and with spectral
normalization of its reshaped matrices (`norm="matrix"`) and of its maps
(`norm="conv"`). Of each: accuracy on held-out digits, the radius in l2 within
which no change of the picture changes a prediction, and accuracy under noise
and under an attack by projected gradients. The certificate is margin over
Lipschitz constant (Tsuzuku, Sato & Sugiyama, 2018,
https://arxiv.org/abs/1802.04034), the attack that of Madry et al. (2018,
https://arxiv.org/abs/1706.06083) on the margin.

Cross-entropy asks for large logits, whatever slopes they take, so that `bound`
trades accuracy for radius.
"""

import argparse
import os
import pathlib

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import bands
import digits
import keras
import matplotlib
import numpy as np
import tensorflow as tf
from keras import layers

from sngan_tf import certificates
from sngan_tf import wrap

matplotlib.use("Agg")

from matplotlib import pyplot as plt

BATCH_SIZE = 64
# Arguments of `wrap`.
METHODS = {
    "no normalization": None,
    "matrix, bound 1": {"norm": "matrix", "bound": 1.0},
    "conv, bound 1": {"norm": "conv", "bound": 1.0},
    "conv, bound 1.5": {"norm": "conv", "bound": 1.5},
}
# In l2 of pictures in [0, 1], of all pixels together and of each.
RADII = np.linspace(0.0, 0.8, 81)
EPSILONS = np.linspace(0.0, 0.8, 9)
SIGMAS = np.linspace(0.0, 0.8, 9)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("figure", type=pathlib.Path)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    training, held_out = digits.load()
    found = {}
    for method in METHODS:
        found[method] = [
            measured(
                trained(method, training, seed, arguments.epochs), *held_out
            )
            for seed in range(arguments.seeds)
        ]
        print_row(method, found[method])
    draw(found, arguments.figure)


def trained(method, examples, seed, epochs):
    """Returns a classifier of `(batch, 8, 8, 1)` to 10 logits."""
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(16, 3, padding="same", activation="leaky_relu"),
            layers.Conv2D(32, 4, 2, padding="same", activation="leaky_relu"),
            layers.Conv2D(32, 3, padding="same", activation="leaky_relu"),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )
    if METHODS[method]:
        model = wrap(model, **METHODS[method])
    updates = epochs * -(-len(examples[0]) // BATCH_SIZE)
    model.compile(
        keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(5e-3, updates)
        ),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    model.fit(*examples, batch_size=BATCH_SIZE, epochs=epochs, verbose=0)
    return model


def measured(model, images, labels):
    """Returns accuracies, by themselves and as curves, and certified radii.

    `certified` are the shares that are right and whose radius is larger than
    each of `RADII`, `attacked` those that are right and stay so under attacks
    of `EPSILONS`, and `noisy` the accuracies under noise of `SIGMAS`.
    """
    right = predictions(model, images) == labels
    radii = certificates.margin_radius(model, images)
    noise = np.random.default_rng(0).normal(size=images.shape)
    return {
        "accuracy": np.mean(right),
        "slope": certificates.lipschitz_bounds(model, ascent_steps=0).upper,
        "radius": np.median(radii[right]),
        "certified": [np.mean(right & (radii > radius)) for radius in RADII],
        "attacked": [
            np.mean(
                right
                & (predictions(model, attacked(model, images, e)) == labels)
            )
            for e in EPSILONS
        ],
        "noisy": [
            np.mean(predictions(model, images + sigma * noise) == labels)
            for sigma in SIGMAS
        ],
    }


def predictions(model, images):
    return np.argmax(model.predict_on_batch(images), axis=-1)


def attacked(model, images, epsilon, steps=20):
    """Returns pictures within l2 `epsilon`, the worst that an attack finds.

    Projected gradient descent on the margin of the model's own prediction, from
    a random start; of all its points that of the smallest margin. It may leave
    [0, 1], where the certificate holds too.

    Args:
        model: A classifier.
        images: `(batch, height, width, channels)`.
        epsilon: A radius for all, or `(batch,)`.
        steps: Of 2.5 epsilon / steps.
    """
    images = tf.convert_to_tensor(images, tf.float32)
    epsilon = np.broadcast_to(np.asarray(epsilon, np.float32), len(images))
    epsilon = epsilon[:, None, None, None]
    predicted = tf.argmax(model(images), -1)
    start = np.random.default_rng(0).normal(size=images.shape)
    change = in_ball(tf.cast(start, tf.float32), epsilon)
    worst, least = change, tf.fill([len(images)], np.inf)
    for _ in range(steps):
        margin, gradient = margin_and_gradient(
            model, images + change, predicted
        )
        smaller = margin < least
        least = tf.where(smaller, margin, least)
        worst = tf.where(smaller[:, None, None, None], change, worst)
        direction = gradient / (norms(gradient) + 1e-12)
        change = in_ball(change - 2.5 * epsilon / steps * direction, epsilon)
    return (images + worst).numpy()


@tf.function
def margin_and_gradient(model, images, predicted):
    """Returns how far `predicted` lies above the next logit, and its slope."""
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = model(images)
        own = tf.one_hot(predicted, logits.shape[-1])
        others = tf.reduce_max(logits - 1e9 * own, -1)
        margin = tf.reduce_sum(own * logits, -1) - others
    return margin, tape.gradient(margin, images)


def in_ball(change, epsilon):
    return change * tf.minimum(1.0, epsilon / (norms(change) + 1e-12))


def norms(change):
    return tf.sqrt(tf.reduce_sum(change**2, (1, 2, 3), keepdims=True))


def print_row(method, seeds):
    shown = {
        "accuracy": [found["accuracy"] for found in seeds],
        "Lipschitz bound": [found["slope"] for found in seeds],
        "median radius": [found["radius"] for found in seeds],
    }
    for name, values in zip(("certified", "attacked"), (RADII, EPSILONS)):
        at = np.argmin(np.abs(values - 0.2))
        shown[f"{name} at 0.2"] = [found[name][at] for found in seeds]
    at = np.argmin(np.abs(SIGMAS - 0.4))
    shown["noise of 0.4"] = [found["noisy"][at] for found in seeds]
    print(method)
    for name, values in shown.items():
        print(f"  {name:18}", *(f"{value:.3g}" for value in values))


def draw(found, path):
    """Draws three panels of accuracy: means over seeds, and their range."""
    figure, panels = plt.subplots(
        1, 3, figsize=(13, 4.4), sharey=True, layout="constrained"
    )
    curves = (
        ("certified", RADII, "radius in l2 that is certified"),
        ("attacked", EPSILONS, "size in l2 of an attack by gradients"),
        ("noisy", SIGMAS, "standard deviation of Gaussian noise"),
    )
    for axes, (name, places, label) in zip(panels, curves):
        for method, seeds in found.items():
            values = [measures[name] for measures in seeds]
            bands.draw(axes, places, values, method)
        axes.set_xlabel(label)
        axes.grid(alpha=0.3)
        axes.set_xlim(0, places[-1])
    panels[0].set_ylabel("accuracy on held-out digits")
    panels[0].legend()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
