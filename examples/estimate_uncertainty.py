r"""Tells what a classifier was never shown, by distances that survive in it.

    python examples/estimate_uncertainty.py FIGURE.png

SNGP (Liu et al., 2020, https://arxiv.org/abs/2006.10108) on two moons and on
digits of which two classes are left out: a residual network whose branches
spectral normalization holds below 0.95, so that inputs far apart stay apart in
the features, and a Gaussian process on these, by random Fourier features and a
Laplace approximation. Beside it the same without normalization, and with a
softmax of a dense layer. Uncertainty is 1 - max p for all three.
"""

import argparse
import os
import pathlib

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import matplotlib
import numpy as np
from keras import layers
from keras import ops
from sklearn import datasets
from sklearn import metrics

from sngan_tf import SpectralNormalization
from sngan_tf.metrics.features import classifier as classifier_lib

matplotlib.use("Agg")

from matplotlib import pyplot as plt

# Whether branches are normalised, and whether the output is a process.
METHODS = {
    "softmax": (False, False),
    "Gaussian process alone": (False, True),
    "SNGP": (True, True),
}
# Classes of digits, of one repetition each.
LEFT_OUT = ((8, 9), (1, 7), (3, 5))
# Coordinates of the columns and rows that the pictures show.
PLANE = np.linspace(-3.0, 4.0, 141), np.linspace(-3.0, 3.5, 131)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("figure", type=pathlib.Path)
    parser.add_argument("--epochs", type=int, default=30, help="of digits")
    parser.add_argument("--moon_epochs", type=int, default=60)
    arguments = parser.parse_args()
    moons = datasets.make_moons(500, noise=0.1, random_state=0)
    print(f"{'':24}accuracy AUROC, without {LEFT_OUT}")
    planes, areas = {}, {}
    for method in METHODS:
        found = [
            unknown_digits(method, left_out, seed, arguments.epochs)
            for seed, left_out in enumerate(LEFT_OUT)
        ]
        accuracies, areas[method] = zip(*found)
        print(
            f"{method:24}{np.mean(accuracies):.3f}   ",
            *(f"{area:.3f}" for area in areas[method]),
        )
        model = trained(method, *moons, 2, 0, arguments.moon_epochs)
        planes[method] = uncertainty(model, plane_points())
    draw(planes, areas, moons, arguments.figure)


class GaussianProcess(layers.Layer):
    """Logits of a Gaussian process with an RBF kernel, approximately.

    The features `phi = sqrt(2 / D) cos(W h + b)` are random and fixed, and
    logits `phi beta` have a normal prior on beta. In training it returns these,
    the posterior's means at its mode; in inference they are divided by
    `sqrt(1 + pi / 8 variance)`, whose softmax is about the mean of the softmax
    (mean-field). `fit_covariance` has to come between.

    Args:
        classes: Number of logits.
        examples: Number of those that train it, for the prior's share.
        features: D.
        length: Length scale of the kernel.
        ridge: Inverse variance of the prior.
    """

    def __init__(self, classes, examples, features=256, length=2.0, ridge=1.0):
        super().__init__()
        self.classes, self.examples = classes, examples
        self.features = features
        self.length, self.ridge = length, ridge

    def build(self, shape):
        self.directions = self.add_weight(
            name="directions",
            shape=(shape[-1], self.features),
            initializer=keras.initializers.RandomNormal(stddev=1 / self.length),
            trainable=False,
        )
        self.phases = self.add_weight(
            name="phases",
            shape=(self.features,),
            initializer=keras.initializers.RandomUniform(0.0, 2 * np.pi),
            trainable=False,
        )
        self.beta = self.add_weight(
            name="beta",
            shape=(self.features, self.classes),
            # The loss is a mean over the examples.
            regularizer=keras.regularizers.L2(self.ridge / 2 / self.examples),
        )
        self.covariance = self.add_weight(
            name="covariance",
            shape=(self.classes, self.features, self.features),
            initializer="zeros",
            trainable=False,
        )

    def call(self, inputs, training=False):
        phi = self.of_features(inputs)
        means = ops.matmul(phi, self.beta)
        if training:
            return means
        return means / ops.sqrt(1 + np.pi / 8 * self.variances(phi))

    def of_features(self, inputs):
        waves = ops.cos(ops.matmul(inputs, self.directions) + self.phases)
        return np.sqrt(2 / self.features) * waves

    def variances(self, phi):
        return ops.einsum("bi,kij,bj->bk", phi, self.covariance, phi)

    def fit_covariance(self, inputs):
        """Sets the posterior's covariance to the inverse of its precision.

        That of class k is `ridge I + sum p_k (1 - p_k) phi phi^T` over the
        training data, all of which `inputs` are: one pass at the end.
        """
        phi = self.of_features(inputs)
        logits = ops.convert_to_numpy(ops.matmul(phi, self.beta))
        phi = np.asarray(ops.convert_to_numpy(phi), np.float64)
        p = np.exp(logits - logits.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        precisions = self.ridge * np.eye(self.features) + np.stack(
            [(w[:, None] * phi).T @ phi for w in (p * (1 - p)).T]
        )
        self.covariance.assign(np.linalg.inv(precisions))


def trained(method, images, labels, classes, seed, epochs):
    """Returns a fitted classifier of `(batch, features)` to logits."""
    keras.utils.set_random_seed(seed)
    normalized, process = METHODS[method]
    inputs = keras.Input(images.shape[1:])
    features = residual_features(inputs, normalized)
    output = layers.Dense(classes)
    if process:
        output = GaussianProcess(classes, len(images))
    model = keras.Model(inputs, output(features))
    model.compile(
        keras.optimizers.Adam(1e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    model.fit(images, labels, batch_size=64, epochs=epochs, verbose=0)
    if process:
        features = keras.Model(inputs, features)
        output.fit_covariance(features.predict_on_batch(images))
    return model


def residual_features(inputs, normalized, width=64, blocks=4):
    # Random and fixed, as in the paper, so that it keeps distances.
    x = layers.Dense(width, trainable=False)(inputs)
    for _ in range(blocks):
        branch = layers.Dense(width, activation="relu")
        if normalized:
            branch = SpectralNormalization(branch, bound=0.95, at_most=True)
        x = x + branch(x)
    return x


def uncertainty(model, inputs):
    """Returns 1 - max p of each input."""
    logits = model.predict_on_batch(inputs)
    return 1 - ops.convert_to_numpy(ops.max(ops.softmax(logits), -1))


def unknown_digits(method, left_out, seed, epochs):
    """Returns accuracy on known digits, and AUROC of telling unknown ones.

    Both of held-out digits, and the unknown ones are all of their classes.
    """
    images, classes = datasets.load_digits(return_X_y=True)
    images = images / 16.0
    known = np.setdiff1d(np.arange(10), left_out)
    is_known = np.isin(classes, known)
    labels = np.searchsorted(known, classes)
    held_out, training = (
        rows[is_known[rows]] for rows in classifier_lib.split_rows(len(images))
    )
    model = trained(
        method, images[training], labels[training], len(known), seed, epochs
    )
    logits = model.predict_on_batch(images[held_out])
    shown = np.concatenate([images[held_out], images[~is_known]])
    return (
        np.mean(np.argmax(logits, -1) == labels[held_out]),
        metrics.roc_auc_score(
            np.arange(len(shown)) >= len(held_out), uncertainty(model, shown)
        ),
    )


def plane_points():
    """Returns the points of the plane, `(rows x columns, 2)`."""
    return np.stack(np.meshgrid(*PLANE), -1).reshape(-1, 2)


def draw(planes, areas, moons, path):
    """Draws the uncertainty of each method over the plane of the moons."""
    figure, panels = plt.subplots(
        1, len(planes), figsize=(13, 4.3), sharey=True, layout="constrained"
    )
    points, classes = moons
    for axes, (method, values) in zip(panels, planes.items()):
        values = values.reshape(len(PLANE[1]), len(PLANE[0]))
        levels = np.linspace(0.0, 0.5, 21)
        shown = axes.contourf(*PLANE, values, levels, cmap="viridis")
        for label, colour in enumerate(("white", "tab:red")):
            axes.scatter(
                *points[classes == label].T,
                7,
                colour,
                edgecolors="black",
                linewidths=0.3,
            )
        axes.set_title(
            f"{method}\nAUROC of unknown digits: "
            + ", ".join(f"{area:.2f}" for area in areas[method]),
            fontsize=11,
        )
        axes.set_aspect("equal")
    figure.colorbar(
        shown,
        ax=panels,
        shrink=0.85,
        label="uncertainty, 1 - max p",
        ticks=np.linspace(0.0, 0.5, 6),
    )
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
