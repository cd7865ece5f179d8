"""Times and weighs scoring: how much of it is the networks, and its memory.

    python benchmarks/scoring.py time
    python benchmarks/scoring.py precision
    python benchmarks/scoring.py memory
    python benchmarks/scoring.py repeated

`time` generates and featurises 10,000 pictures of 32 pixels, with the generator
of Table 3 and a classifier as `features` has for CIFAR-10, and prints how much
of it these two take alone. `precision` takes precision and recall of two sets
of 10,000 x 2,048 features (`--samples`) as `metrics` does, also with the real
side known, and by the formula in float64, in turns, and prints medians and the
machine's rate of matrix products. `memory` scores 50,000 by a network
with as many features and logits as Inception, under the protocol 50k, and
prints the peak above what was held before. `repeated` scores 20 times and
prints what is held after each.
"""

import argparse
import contextlib
import os
import pathlib
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import frechet_distance
import machine
import memory
import numpy as np
import tensorflow as tf

from sngan_tf import data
from sngan_tf import metrics
from sngan_tf import networks
from sngan_tf.gan import sampler as sampler_lib
from sngan_tf.metrics import features
from sngan_tf.metrics import protocols
from sngan_tf.metrics import scorer as scorer_lib

SHAPE = (32, 32, 3)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=MEASUREMENTS)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--samples", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        os.environ["SNGAN_TF_CACHE"] = cache
        MEASUREMENTS[arguments.what](arguments)


def measure_time(arguments):
    count = arguments.samples or 10_000
    sampler = sampler_of(arguments)
    network = features.load_classifier(pictures(640), updates=1)
    network.stream(sampler.batches(0, 1_000), 1_000)  # Traces the graphs.
    seconds = {}
    with timed(seconds, "generator"):
        images = [batch.numpy() for batch in sampler.batches(1, count)]
    with timed(seconds, "classifier"):
        network.stream(images, count)
    alone = sum(seconds.values())
    with timed(seconds, "both"):
        network.stream(sampler.batches(1, count), count)
    for name, spent in seconds.items():
        print(f"{name:12}{spent:8.2f} s")
    print(f"the two alone / both: {alone / seconds['both']:.1%}")


def measure_precision(arguments):
    real, fake = frechet_distance.features(arguments.samples or 10_000, 2_048)
    manifold = metrics.Manifold.of(real)
    contestants = {
        "sngan_tf": lambda: metrics.precision_recall(real, fake),
        "real known": lambda: manifold.precision_recall(
            metrics.Manifold.of(fake)
        ),
        "float64": lambda: precision_recall(real, fake),
    }
    values, seconds = {}, {name: [] for name in contestants}
    for _ in range(arguments.rounds):
        for name, measure in contestants.items():
            spent = {}
            with timed(spent, name):
                values[name] = measure()
            seconds[name].append(spent[name])
    float64 = np.median(seconds["float64"])
    for name, times in seconds.items():
        precision, recall = values[name]
        print(
            f"{name:12}{np.median(times):10.2f} s "
            f"({min(times):.2f} to {max(times):.2f})"
            f"{np.median(times) / float64:8.3f} of float64's"
            f"   precision {precision:.6f}, recall {recall:.6f}"
        )
    for dtype in (np.float32, np.float64):
        a, b = np.ones((2, machine.SIZE, machine.SIZE), dtype)
        rate, _ = machine.rate(lambda a=a, b=b: a @ b, repeats=3)
        print(f"{rate:.0f} GFLOP/s, products in {dtype.__name__}")


def precision_recall(real, fake, neighbours=3):
    """The formula, of blocks of float64 distances."""

    def distances(a, b):
        center = np.mean(b, axis=0, dtype=np.float64)
        for start in range(0, len(a), 256):
            block = a[start : start + 256] - center
            found = np.empty((len(block), len(b)))
            for i in range(0, len(b), 1024):
                other = b[i : i + 1024] - center
                found[:, i : i + 1024] = (
                    np.sum(block**2, axis=1)[:, np.newaxis]
                    + np.sum(other**2, axis=1)
                    - 2 * block @ other.T
                )
            yield slice(start, start + 256), found

    def radii(a):
        return np.concatenate(
            [
                np.partition(found, neighbours, axis=1)[:, neighbours]
                for _, found in distances(a, a)
            ]
        )

    real_radii, fake_radii = radii(real), radii(fake)
    fake_inside = np.zeros(len(fake), bool)
    real_inside = np.zeros(len(real), bool)
    for rows, found in distances(fake, real):
        fake_inside[rows] = (found <= real_radii).any(axis=1)
        real_inside |= (found <= fake_radii[rows, np.newaxis]).any(axis=0)
    return fake_inside.mean(), real_inside.mean()


@contextlib.contextmanager
def timed(seconds, name):
    began = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - began


def sampler_of(arguments):
    generator, _ = networks.build("cnn", SHAPE, width=arguments.width)
    return sampler_lib.Sampler(generator)


def measure_memory(arguments):
    sampler = sampler_of(arguments)
    protocol = protocols.get("50k", 0)
    if arguments.samples:
        protocol = protocols.get("quick", arguments.samples)
    real = pictures(protocol.num_real)
    network = as_inception()
    network.stream(sampler.batches(0, 1_000), 1_000)
    before = memory.held()
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # Peak begins anew.
    scorer = scorer_lib.Scorer(network, protocol, real)
    rows = scorer.generated(sampler, step=0, show=True)
    print(f"{rows[0]['num_fake']:,} samples")
    print(f"held before, with the real pictures: {before:,.0f} MiB")
    print(f"peak above that: {memory.held('VmHWM') - before:,.0f} MiB")


def measure_repeated(arguments):
    sampler = sampler_of(arguments)
    protocol = protocols.get("quick", arguments.samples or 2_000)
    scorer = scorer_lib.Scorer(as_inception(), protocol, pictures(2_000))
    for i in range(20):
        scorer.generated(sampler, step=i)
        print(f"after {i + 1:2} evaluations: {memory.held():,.1f} MiB")


def pictures(count):
    """Returns noise, labelled at random."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, *SHAPE), np.uint8)
    labels = rng.integers(0, 10, count, np.int32)
    return data.Pictures(images, labels, tuple("abcdefghij"), "noise")


def as_inception():
    """Returns a `FeatureNetwork` with Inception's numbers of outputs."""
    rng = np.random.default_rng(0)
    weights = tf.constant(rng.normal(size=(3_072, 2_048)) / 3e3, tf.float32)
    head = tf.constant(rng.normal(size=(2_048, 1_008)) / 30, tf.float32)

    def outputs(images):
        flat = tf.reshape(tf.cast(images, tf.float32), (-1, 3_072))
        found = tf.nn.relu(flat @ weights)
        return found, found @ head

    return features.FeatureNetwork("inception", "noise", outputs, "none", 500)


MEASUREMENTS = {
    "time": measure_time,
    "precision": measure_precision,
    "memory": measure_memory,
    "repeated": measure_repeated,
}

if __name__ == "__main__":
    main()
