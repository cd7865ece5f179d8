r"""Trains Table 3 at the paper's size on an accelerator, on JAX alone.

    python examples/train_full_size.py --pictures=cifar10/train \
        --classifier=cifar10_classifier.keras --out=runs/full_size \
        --method spectral_norm keras_spectral_norm none wgan_gp \
        --setting C F --minutes=8

Each method under each setting and seed is a run with a folder of its own,
METHOD-SETTING-SEED: `train.jsonl`, `scores.jsonl`, `samples/`, its last state,
and at the end `generator.keras` and the folded `discriminator.keras`. Runs take
turns of `evaluate_every` updates, so that when `--minutes` are over they are
about equally far; the same command goes on from there. The first turn trains
while later runs compile, and what compiles at the end is waited for. Losses are
the non-saturating ones, and for `wgan_gp` the Wasserstein loss with a penalty
of 10; d_loss includes it.

`keras_spectral_norm` is `keras.layers.SpectralNormalization` as TensorFlow has
it (see `jax_updates.normalized`).

`--precision` is that of products and convolutions in training:
`tensorfloat32`, which GPUs have as their default (sigma too is then right to
three digits); `float32`; or `mixed_bfloat16`, Keras's policy, with weights,
`u` and sigma in float32. Scores are always taken in float32.

It needs Keras, JAX, NumPy and Pillow. On a machine with a GPU and without a
network, of 50,000 JPEGs in a tar (their decoded pictures are 150 MB, which
`--pictures` also takes as an .npz of `jax_pictures.pack`):

    pip install --no-index --no-deps --target=/tmp/site wheels/*.whl
    export PYTHONPATH=$PWD:/tmp/site JAX_COMPILATION_CACHE_DIR=/tmp/jax
    python -m tarfile -e cifar10_images.tar.xz /tmp/cifar10
    python examples/train_full_size.py --pictures=/tmp/cifar10/train \
        --classifier=sngan_tf/metrics/features/cifar10_classifier.keras \
        --out=/tmp/full_size --minutes=8 --setting C
    cd /tmp/full_size && tar czf records.tgz */*.jsonl */samples

with the wheels of keras, namex and optree. `tabulate_full_size.py` makes of the
records what docs/results.md shows. At full width a state has 81 MB, a generator
15 and a discriminator 12.

On an NVIDIA H200, in TensorFloat-32, 1,000 generator updates at setting C took
3.1 s of spectral normalization, 2.9 of Keras's way, 2.7 of none and 4.0 of
WGAN-GP. The time limit counts from the start, with the pictures' reading. Let
it end before a limit of the machine: networks are saved after the last turn,
and a run that was killed goes on from its last evaluation.
"""

import argparse
import concurrent.futures
import functools
import itertools
import json
import math
import os
import pathlib
import time

os.environ["KERAS_BACKEND"] = "jax"

import jax
import jax_pictures
import jax_updates
import keras
import numpy as np
import train_jax
from jax import numpy as jnp

from sngan_tf import files
from sngan_tf import fold
from sngan_tf import networks
from sngan_tf.errors import UserError
from sngan_tf.runs import arguments as settings_lib

# By name here: method of the discriminator, loss.
METHODS = {
    "spectral_norm": ("spectral_norm", "non_saturating"),
    "keras_spectral_norm": ("none", "non_saturating"),
    "none": ("none", "non_saturating"),
    "wgan_gp": ("wgan_gp", "wasserstein"),
}
PRECISIONS = ("tensorfloat32", "float32", "mixed_bfloat16")
COMPILED_AT_ONCE = 4
SHOWN = 64
# What a run that goes on must agree in.
IDENTITY = ("width", "batch", "precision")


def main():
    arguments = parsed()
    deadline = time.monotonic() + 60 * arguments.minutes
    images, reference = jax_pictures.load(arguments.pictures)
    scorer = jax_pictures.Scorer(
        arguments.classifier, images, reference, arguments.samples
    )
    if arguments.precision == "mixed_bfloat16":
        keras.config.set_dtype_policy("mixed_bfloat16")
    runs = [
        Run(*names, arguments, images.shape[1:])
        for names in itertools.product(
            arguments.seed, arguments.setting, arguments.method
        )
    ]
    generate = jax_pictures.generation(runs[0].generator)
    pictures = jnp.asarray(images)
    with concurrent.futures.ThreadPoolExecutor(COMPILED_AT_ONCE) as pool:
        for run in [run for run in runs if not run.done]:
            run.program = pool.submit(run.compiled, pictures)
        take_turns(runs, pictures, deadline, generate, scorer)
        pool.shutdown(cancel_futures=True)
    for run in runs:
        run.finish()


def parsed():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=pathlib.Path, required=True)
    parser.add_argument("--classifier", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument(
        "--method", nargs="+", choices=METHODS, default=[*METHODS]
    )
    parser.add_argument(
        "--setting", nargs="+", choices=settings_lib.SETTINGS, default=["C"]
    )
    parser.add_argument("--seed", nargs="+", type=int, default=[0])
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--updates", type=int, default=100_000)
    parser.add_argument("--updates_per_call", type=int, default=100)
    parser.add_argument("--evaluate_every", type=int, default=2000)
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--minutes", type=float, default=math.inf)
    parser.add_argument(
        "--precision", choices=PRECISIONS, default=PRECISIONS[0]
    )
    arguments = parser.parse_args()
    for name in ("updates", "evaluate_every"):
        if getattr(arguments, name) % arguments.updates_per_call:
            raise UserError(
                f"`{name}` must be a multiple of `updates_per_call`. Received: "
                f"{name}={getattr(arguments, name)}, "
                f"updates_per_call={arguments.updates_per_call}"
            )
    return arguments


def take_turns(runs, pictures, deadline, generate, scorer):
    """Trains each run to its next evaluation in turn, until time is up."""
    while pending := [run for run in runs if not run.done]:
        for run in pending:
            if run.train(pictures, deadline):
                run.evaluate(generate, scorer)
            if time.monotonic() >= deadline:
                return


class Run:
    """One training: its networks, its state and its folder.

    Args:
        seed: Of the initial weights and of all that is drawn.
        setting: A letter of Table 1.
        method: A key of `METHODS`.
        arguments: Those of the command.
        image_shape: `(height, width, channels)`.

    Attributes:
        program: Future of the compiled `jax_updates.many_updates`.
        diverged: Whether a loss was not finite; the run ends there.
    """

    def __init__(self, seed, setting, method, arguments, image_shape):
        self.folder = arguments.out / f"{method}-{setting}-{seed}"
        self.program, self.diverged = None, False
        self._seed, self._arguments = seed, arguments
        *adam, self._discriminator_steps = settings_lib.SETTINGS[setting]
        keras.utils.set_random_seed(seed)
        network, self._loss = METHODS[method]
        self.generator, self._discriminator = networks.build(
            "cnn", image_shape, width=arguments.width, method=network
        )
        self._optimizers = [keras.optimizers.Adam(*adam) for _ in range(2)]
        state = train_jax.initial_state(*self._pair, *self._optimizers)
        us = ()
        if method == "keras_spectral_norm":
            us = jax_updates.initial_us(state, seed)
        self._state, self._step, self._seconds = (state, us), 0, 0.0
        self._about = {"method": method, "setting": setting, "seed": seed}
        self._about |= {key: getattr(arguments, key) for key in IDENTITY}
        self._restore()

    @property
    def _pair(self):
        return self.generator, self._discriminator

    @property
    def done(self):
        return self.diverged or self._step >= self._arguments.updates

    def compiled(self, pictures):
        """Returns `jax_updates.many_updates` of this run, compiled."""
        update = jax_updates.one_update(
            *self._pair, *self._optimizers, self._loss, self._arguments.batch
        )
        program = jax.jit(
            functools.partial(jax_updates.many_updates, update),
            donate_argnums=0,
        )
        precision = self._arguments.precision
        # Of a thread, as what is compiled in it is.
        with jax.default_matmul_precision(
            "tensorfloat32" if precision == "mixed_bfloat16" else precision
        ):
            lowered = program.lower(
                self._state, pictures, *self._draw(pictures)
            )
            return lowered.compile()

    def _draw(self, pictures):
        """Returns the key, numbers and rows of the next call's updates."""
        numbers = self._step + np.arange(self._arguments.updates_per_call)
        shape = len(numbers), self._discriminator_steps, self._arguments.batch
        start = self._step * math.prod(shape[1:])
        rows = shuffled(self._seed, start, math.prod(shape), len(pictures))
        key = jax.random.key(self._seed)
        return key, numbers.astype("int32"), rows.reshape(shape)

    def train(self, pictures, deadline):
        """Trains to the next evaluation, or as far as time goes.

        Returns whether there is something new to evaluate.
        """
        every = self._arguments.evaluate_every
        end = (self._step // every + 1) * every
        end = min(end, self._arguments.updates)
        program = self.program.result()
        before = self._step
        while self._step < end and time.monotonic() < deadline:
            start = time.monotonic()
            self._state, losses = program(
                self._state, pictures, *self._draw(pictures)
            )
            losses = [float(loss[-1]) for loss in losses]
            self._seconds += time.monotonic() - start
            self._step += self._arguments.updates_per_call
            self._log(*losses)
            if not np.isfinite(losses).all():
                self.diverged = True
                print(f"{self.folder.name}: {self._step}: loss is not finite")
                return False
        return self._step > before

    def _log(self, d_loss, g_loss):
        row = {"step": self._step, "d_loss": d_loss, "g_loss": g_loss}
        row["seconds"] = self._seconds
        self.folder.mkdir(parents=True, exist_ok=True)
        files.append_row(self.folder / "train.jsonl", row)

    def evaluate(self, generate, scorer):
        """Writes scores, a grid of samples and the state."""
        (g_state, _), _ = self._state
        images = generate(*g_state[:2], scorer.count)
        rows = scorer.rows(self._step, images)
        about = {
            **self._about,
            "seconds": self._seconds,
            "device": jax.devices()[0].device_kind,
        }
        jax_pictures.save_grid(
            self.folder / "samples" / f"step_{self._step:08d}.png",
            images[:SHOWN],
        )
        files.add_rows(
            self.folder / "scores.jsonl", [{**row, **about} for row in rows]
        )
        self._save()
        values = (f"{row['metric']} {row['value']:.4g}" for row in rows)
        print(
            f"{self.folder.name}: {self._step} updates, {self._seconds:.0f} s,",
            ", ".join(values),
            flush=True,
        )

    def _save(self):
        leaves = map(np.asarray, jax.tree.leaves(self._state))
        with files.replacing(self.folder / "state.npz") as temporary:
            np.savez(
                temporary,
                *leaves,
                about=json.dumps(self._about),
                step=self._step,
                seconds=self._seconds,
            )

    def _restore(self):
        """Takes up the state that is kept, and rows up to it alone."""
        path = self.folder / "state.npz"
        if path.exists():
            with np.load(path) as archive:
                self._check(path, json.loads(str(archive["about"])))
                self._step = int(archive["step"])
                self._seconds = float(archive["seconds"])
                leaves, structure = jax.tree.flatten(self._state)
                kept = [archive[f"arr_{i}"] for i in range(len(leaves))]
            kept = map(jnp.asarray, kept)
            self._state = jax.tree.unflatten(structure, kept)
        for rows in self.folder.glob("*.jsonl"):
            known = files.read_rows(rows)
            files.write_rows(
                rows, [row for row in known if row["step"] <= self._step]
            )

    def _check(self, path, about):
        if about != self._about:
            raise UserError(
                f"{path} must be of the run that is asked for, {self._about}. "
                f"Received: {about}"
            )

    def finish(self):
        """Saves both networks, the discriminator's folded."""
        if self.diverged or not self._step:
            return
        train_jax.keep(self._state[0], *self._pair)
        self.generator.save(self.folder / "generator.keras")
        fold(self._discriminator).save(self.folder / "discriminator.keras")


def shuffled(seed, start, count, of):
    """Returns int32 row numbers of pictures, each once an epoch.

    Every epoch is a permutation of all, in one line of which these are
    `count` from the place `start`.

    Args:
        seed: Which the line depends on.
        start: As above.
        count: As above.
        of: Number of all pictures.
    """
    first, last = start // of, (start + count - 1) // of
    epochs = [
        np.random.default_rng([seed, epoch]).permutation(of)
        for epoch in range(first, last + 1)
    ]
    rows = np.concatenate(epochs)[start - first * of :]
    return rows[:count].astype("int32")


if __name__ == "__main__":
    main()
