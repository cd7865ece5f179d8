r"""Normalises an LSTM that reads digits row by row, and looks at what it holds.

    python examples/normalize_lstm.py FIGURE.png

Spectral normalization of both kernels of an LSTM, of all gates together, at two
bounds, beside none. Of each: accuracy on held-out digits and the norm of the
recurrent kernel over training; how far a change of the first row travels, in
the state after each later row; and accuracy on the last digit of a stream of
several, which is longer than any sequence of the training (8 rows).

At |U| < 1 a plain recurrent layer with tanh is a contraction (Miller & Hardt,
2019, https://arxiv.org/abs/1805.10369). An LSTM's gates make it none by
themselves: what the figure shows is measured, not certified.
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
from keras import layers

from sngan_tf import SpectralNormalization
from sngan_tf.layers import spectral_norms

matplotlib.use("Agg")

from matplotlib import pyplot as plt

METHODS = {"no normalization": None, "bound 2": 2.0, "bound 1": 1.0}
MOST_DIGITS = 5


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("figure", type=pathlib.Path)
    parser.add_argument("--units", type=int, default=64)
    parser.add_argument("--learning_rate", type=float, default=1e-2)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    examples = [(x[..., 0], labels) for x, labels in digits.load()]
    found = {}
    for method, bound in METHODS.items():
        found[method] = [
            measured(
                network(bound, arguments.units, seed),
                *examples,
                arguments.learning_rate,
                arguments.epochs,
            )
            for seed in range(arguments.seeds)
        ]
        print_rows(method, found[method])
    draw(found, arguments.figure)


def network(bound, units, seed):
    """Returns a model of `(batch, rows, 8)` to states and logits of each."""
    keras.utils.set_random_seed(seed)
    lstm = layers.LSTM(units, return_sequences=True, name="lstm")
    if bound:
        lstm = SpectralNormalization(lstm, bound=bound)
    inputs = keras.Input((None, 8))
    states = lstm(inputs)
    return keras.Model(inputs, [states, layers.Dense(10)(states[:, -1])])


def measured(model, training, held_out, learning_rate, epochs):
    """Trains a network and returns its curves."""
    logits = keras.Model(model.input, model.output[1])
    logits.compile(
        keras.optimizers.Adam(learning_rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    norms = [recurrent_norm(model)]
    history = logits.fit(
        *training,
        batch_size=64,
        epochs=epochs,
        validation_data=held_out,
        callbacks=[
            keras.callbacks.LambdaCallback(
                on_epoch_end=lambda *_: norms.append(recurrent_norm(model))
            )
        ],
        verbose=0,
    ).history
    rows, labels = held_out
    return {
        "accuracy": history["val_accuracy"],
        "norm": norms,
        "travel": travel(model, streams(rows, MOST_DIGITS)),
        "stream": [
            np.mean(
                np.argmax(logits.predict_on_batch(streams(rows, n)), -1)
                == labels
            )
            for n in range(1, MOST_DIGITS + 1)
        ],
    }


def recurrent_norm(model):
    return spectral_norms(model)["lstm_cell/recurrent_kernel"]


def streams(rows, count):
    """Returns each digit after `count - 1` others, `(batch, count * 8, 8)`."""
    others = [np.roll(rows, n, axis=0) for n in range(count)]
    return np.concatenate(others[::-1], axis=1)


def travel(model, rows, size=0.1):
    """Returns how far the states move per change of the first row, `(rows,)`.

    Means over the sequences, of changes of 2-norm `size` in random directions.
    """
    change = np.random.default_rng(0).normal(size=rows[:, 0].shape)
    change *= size / np.linalg.norm(change, axis=-1, keepdims=True)
    changed = rows.copy()
    changed[:, 0] += change
    before, after = (model.predict_on_batch(x)[0] for x in (rows, changed))
    return np.mean(np.linalg.norm(after - before, axis=-1), axis=0) / size


def print_rows(method, seeds):
    print(method)
    for name, value in {
        "accuracy": lambda found: found["accuracy"][-1],
        "|U|": lambda found: found["norm"][-1],
        "travel at row 8": lambda found: found["travel"][7],
        f"travel at row {8 * MOST_DIGITS}": lambda found: found["travel"][-1],
        f"digit {MOST_DIGITS} of a stream": lambda found: found["stream"][-1],
    }.items():
        print(f"  {name:20}", *(f"{value(found):.3g}" for found in seeds))


def draw(found, path):
    """Draws the four curves of each method, and the range over seeds."""
    figure, panels = plt.subplots(2, 2, figsize=(11, 7.5), layout="constrained")
    curves = {
        "accuracy": ("accuracy on held-out digits", "epochs", 1),
        "norm": ("norm of the recurrent kernel in effect", "epochs", 0),
        "travel": (
            "change of the state by one of the first row",
            "rows read (trained on 8)",
            1,
        ),
        "stream": (
            "accuracy on the last digit of a stream",
            "digits in the stream (trained on 1)",
            1,
        ),
    }
    for axes, (name, (title, label, first)) in zip(panels.flat, curves.items()):
        for method, seeds in found.items():
            values = [measures[name] for measures in seeds]
            places = range(first, first + len(values[0]))
            bands.draw(axes, places, values, method)
        axes.set_title(title)
        axes.set_xlabel(label)
        axes.grid(alpha=0.3)
    panels[1, 0].set_yscale("log")
    panels[1, 1].set_xticks(range(1, MOST_DIGITS + 1))
    panels[0, 0].legend()
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()
