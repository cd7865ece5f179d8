"""Times and weighs scoring: how much of it is the networks, and its memory.

    python benchmarks/scoring.py time
    python benchmarks/scoring.py memory
    python benchmarks/scoring.py repeated

`time` generates and featurises 10,000 pictures of 32 pixels, with the generator
of Table 3 and a classifier as `features` has for CIFAR-10, and prints the share
of the time that was spent in these two. `memory` scores 50,000 by a network
with as many features and logits as Inception, under the protocol 50k, and
prints the peak above what was held before. `repeated` scores 20 times and
prints what is held after each.
"""

import argparse
import os
import pathlib
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import memory
import numpy as np
import tensorflow as tf

from sngan_tf import data
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
    arguments = parser.parse_args()
    generator, _ = networks.build("cnn", SHAPE, width=arguments.width)
    with tempfile.TemporaryDirectory() as cache:
        os.environ["SNGAN_TF_CACHE"] = cache
        measure = MEASUREMENTS[arguments.what]
        measure(sampler_lib.Sampler(generator), arguments.samples)


def measure_time(sampler, samples):
    samples = samples or 10_000
    network = features.load_classifier(pictures(640), updates=1)
    network.stream(sampler.batches(0, 1_000), 1_000)  # Traces the graphs.
    spent = {"generator": 0.0, "classifier": 0.0}

    def timed(name, function):
        def call(*inputs):
            began = time.perf_counter()
            outputs = function(*inputs)
            tf.nest.map_structure(lambda x: x.numpy(), outputs)
            spent[name] += time.perf_counter() - began
            return outputs

        return call

    sampler.images = timed("generator", sampler.images)
    network._outputs = timed("classifier", network._outputs)
    began = time.perf_counter()
    network.stream(sampler.batches(1, samples), samples)
    whole = time.perf_counter() - began
    for name, seconds in spent.items():
        print(f"{name:12}{seconds:8.2f} s {seconds / whole:7.1%}")
    print(f"{'whole':12}{whole:8.2f} s")
    print(f"in the two networks: {sum(spent.values()) / whole:.1%}")


def measure_memory(sampler, samples):
    protocol = protocols.get("50k", 0)
    if samples:
        protocol = protocols.get("quick", samples)
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


def measure_repeated(sampler, samples):
    protocol = protocols.get("quick", samples or 2_000)
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
    "memory": measure_memory,
    "repeated": measure_repeated,
}

if __name__ == "__main__":
    main()
