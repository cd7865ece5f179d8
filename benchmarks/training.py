"""Weighs and times training: its memory, its data and its dispatch.

    python benchmarks/training.py memory
    python benchmarks/training.py pipeline --pictures folder:/cifar/train
    python benchmarks/training.py dispatch
    python benchmarks/training.py operations

`memory` trains small networks by the command for 5,000 updates, with grids,
checkpoints and scores every 250, and prints what the process holds on the way.
`pipeline` compares updates on the pictures of a folder with updates on one
batch that lies ready, of the networks of Table 3. `dispatch` compares
executions of one update with executions of 50, of the digits' networks at a
sixteenth of the paper's width. Both take turns, and print medians. `operations`
counts those of the graph of a step of the digits, constants too, with and
without normalization, and times its first trace and what is no arithmetic:
a step on a batch of 4.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import memory

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # For the configs, which are not installed.
_WARM_UP = 1_000
_TURNS = 5


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=MEASUREMENTS)
    parser.add_argument("--pictures", default="digits")
    parser.add_argument("--width", type=float, default=1.0)
    arguments = parser.parse_args()
    MEASUREMENTS[arguments.what](arguments)


def measure_memory(arguments):
    updates = 5_000
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [
                sys.executable,
                str(ROOT / "main.py"),
                "--mode=train",
                f"--workdir={folder}/run",
                "--config.network.width=0.03125",
                "--config.data.batch_size=8",
                f"--config.updates={updates}",
                "--config.log_every=50",
                "--config.sample_every=250",
                "--config.checkpoint_every=250",
                "--config.evaluate_every=250",
                "--config.evaluation.samples=500",
                "--config.evaluation.classifier_updates=20",
            ],
            env={**os.environ, "SNGAN_TF_CACHE": f"{folder}/cache"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        held, log = {}, pathlib.Path(folder, "run", "train.jsonl")
        while process.poll() is None:
            time.sleep(0.2)
            step = 50 * log.read_text().count("\n") if log.exists() else 0
            if step // 250 * 250 not in held:
                held[step // 250 * 250] = memory.held(process=process.pid)
    for step, mebibytes in held.items():
        print(f"at update {step:5}: {mebibytes:8,.1f} MiB")
    later = [held[step] for step in held if step >= _WARM_UP]
    print(
        f"{process.args[1]} ended with {process.returncode}; growth after "
        f"update {_WARM_UP}: {max(later) - later[0]:,.1f} MiB at most"
    )


def measure_pipeline(arguments):
    from configs import cifar10_cnn
    from sngan_tf import data

    config = cifar10_cnn.get_config()
    config.data.num_classes = 0
    config.network.width = arguments.width
    pictures = data.load(arguments.pictures, config.data.image_size, channels=3)
    batches = data.training_batches(pictures, config.data.batch_size, seed=0)
    ready = batches.take(1).cache().repeat()
    gan = built(config, pictures)
    seconds = in_turns(gan, {"pictures": batches, "ready": ready}, updates=40)
    iterator = iter(batches)
    next(iterator)
    began = time.process_time()
    for _ in range(200):
        next(iterator)
    alone = (time.process_time() - began) / 200
    print(f"processor time of a batch, alone: {alone * 1e3:.2f} ms")
    difference = seconds["pictures"] / seconds["ready"] - 1
    print(f"an update on pictures takes {difference:+.1%}")


def measure_dispatch(arguments):
    from configs import digits
    from sngan_tf import data

    config = digits.get_config()
    config.network.width = 1 / 16
    config.data.batch_size = config.generator_batch_size = 8
    pictures = data.load("digits", config.data.image_size)
    batches = data.training_batches(pictures, config.data.batch_size, seed=0)
    rates = {}
    gans = {}
    for per_execution in (1, 50):
        config.steps_per_execution = per_execution
        gans[per_execution] = built(config, pictures)
    for _ in range(_TURNS):
        for per_execution, gan in gans.items():
            [seconds] = in_turns(
                gan, {"": batches}, updates=500, turns=1, show=False
            ).values()
            rates.setdefault(per_execution, []).append(1 / seconds)
    one, fifty = (statistics.median(rates[key]) for key in (1, 50))
    print(f"updates a second: {one:.1f} one by one, {fifty:.1f} by 50")
    print(f"ratio: {fifty / one:.2f}")


def measure_operations(arguments):
    counts = {}
    for method in ("spectral_norm", "none"):
        gan, images = of_digits(method)
        began = time.perf_counter()
        counts[method] = operations(gan, images)
        seconds = time.perf_counter() - began
        print(f"{method}: {counts[method]:,}, traced in {seconds:.1f} s")
    print(f"of normalization: {counts['spectral_norm'] - counts['none']}")
    gan, _ = of_digits("spectral_norm")
    gan.make_train_function()
    seconds = []
    for _ in range(200 + _TURNS):
        began = time.perf_counter()
        float(gan.train_function(iter([images[:4]]))["d_loss"])
        seconds.append(time.perf_counter() - began)
    median = statistics.median(seconds[_TURNS:])
    print(f"a step on 4 pictures: {1e3 * median:.1f} ms")


def of_digits(method):
    """Returns the `GAN` of the digits' config, and a batch of pictures."""
    import numpy as np

    from configs import digits
    from sngan_tf.runs import build

    config = digits.get_config()
    config.method = method
    config.data.channels = 1
    build.set_up(config)
    shape = (config.data.batch_size, *2 * [config.data.image_size], 1)
    return build.gan(config), np.zeros(shape, np.uint8)


def operations(gan, images):
    """Returns the number of operations, constants too, of a training step."""
    import tensorflow as tf

    step = tf.function(gan.train_step).get_concrete_function(images)
    graph = step.graph.as_graph_def()
    return len(graph.node) + sum(
        len(function.node_def) for function in graph.library.function
    )


def built(config, pictures):
    from sngan_tf.runs import build

    build.set_up(config)
    build.resolve(config, pictures)
    return build.gan(config)


def in_turns(gan, datasets, updates, turns=_TURNS, show=True):
    """Returns the median seconds of an update on each data set.

    The first half of each turn is not counted, as it starts the pipeline and
    fills its buffers.
    """
    import keras

    seconds = {name: [] for name in datasets}
    gan.fit(
        next(iter(datasets.values())),
        steps_per_epoch=gan.steps_per_execution,
        shuffle=False,
        verbose=0,
    )
    for _ in range(turns):
        for name, dataset in datasets.items():
            ends = []
            gan.fit(
                dataset,
                steps_per_epoch=updates,
                shuffle=False,
                verbose=0,
                callbacks=[
                    keras.callbacks.LambdaCallback(
                        on_train_batch_end=lambda batch, logs, ends=ends: (
                            ends.append(time.perf_counter())
                        )
                    )
                ],
            )
            later = ends[len(ends) // 2 :]
            counted = (len(later) - 1) * gan.steps_per_execution
            seconds[name].append((later[-1] - later[0]) / counted)
    medians = {name: statistics.median(all_) for name, all_ in seconds.items()}
    if show:
        for name, median in medians.items():
            print(f"{name:10}{median * 1e3:8.2f} ms an update")
    return medians


MEASUREMENTS = {
    "memory": measure_memory,
    "pipeline": measure_pipeline,
    "dispatch": measure_dispatch,
    "operations": measure_operations,
}

if __name__ == "__main__":
    main()
