import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from tensorflow.python.framework import ops as tf_ops

from sngan_tf import files
from sngan_tf import images as images_lib
from sngan_tf.errors import UserError
from sngan_tf.gan import GAN
from sngan_tf.gan import sampler as sampler_lib
from sngan_tf.gan import step_callback
from sngan_tf.layers import SpectralNormalization
from sngan_tf.layers import effective_rank
from sngan_tf.layers import singular_values
from sngan_tf.runs import build
from sngan_tf.runs import callbacks
from sngan_tf.runs import checkpoint
from sngan_tf.runs import interrupts as interrupts_lib
from sngan_tf.runs import records as records_lib
from sngan_tf.runs import workdir as workdir_lib


class Scorer:
    """Scores by values in turn."""

    def __init__(self, *values):
        self.values = iter(values)

    def generated(self, sampler, step):
        metrics = "classifier_recall", "frechet_classifier_distance"
        values = 0.5, next(self.values)
        return [
            {"step": step, "metric": metric, "value": value}
            for metric, value in zip(metrics, values)
        ]


@pytest.fixture
def run(tmp_path):
    return workdir_lib.Workdir(tmp_path / "run")


@pytest.fixture
def evaluate(tiny_config, run):
    """Returns a function that evaluates one GAN at steps, by values."""
    tiny_config.data.channels = 1
    gan = build.gan(tiny_config)
    run.prepare(tiny_config)

    def evaluate(*pairs):
        steps, values = zip(*pairs)
        scorer = Scorer(*values)
        with interrupts_lib.Interrupts() as interrupts:
            records = records_lib.Records(
                tiny_config, run, gan, lambda: scorer, interrupts
            )
            for step in steps:
                gan.step.assign(step)
                records.scores.score(step)

    return evaluate


def kept(run):
    """Returns the step of the best checkpoint, and its score beside it."""
    rows = files.read_rows(run.best_scores)
    assert {row["step"] for row in rows} <= {checkpoint.latest_step(run.best)}
    return checkpoint.latest_step(run.best), rows[-1]["value"]


@pytest.mark.parametrize("restart", [False, True])
def test_best_has_its_own_score_whatever_its_step_scored_later(
    evaluate, run, restart
):
    """As where a run went back, for its last checkpoint was damaged."""
    pairs = [(9, 10.0), (9, 20.0), (12, 15.0)]
    for part in [[pair] for pair in pairs] if restart else [pairs]:
        evaluate(*part)
    assert kept(run) == (9, 10.0)
    evaluate((9, 8.0), (12, 9.0))
    assert kept(run) == (9, 8.0)
    evaluate((12, 7.0))
    assert kept(run) == (12, 7.0)


def test_best_from_before_it_kept_its_score_has_that_of_all(evaluate, run):
    evaluate((3, 10.0), (6, 5.0), (6, 20.0))
    run.best_scores.unlink()
    evaluate((9, 7.0))
    assert checkpoint.latest_step(run.best) == 6
    evaluate((9, 4.0))
    assert kept(run) == (9, 4.0)


@pytest.mark.parametrize("count", [1, 2])
def test_killed_evaluation_is_made_again(evaluate, run, monkeypatch, count):
    """Whichever file it did not come to write."""
    evaluate((3, 10.0))
    writer, calls = files.write_rows, iter(range(1, 9))

    def write_or_die(*args):
        if next(calls) == count:
            raise KeyboardInterrupt
        writer(*args)

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_rows", write_or_die)
        with pytest.raises(KeyboardInterrupt):
            evaluate((6, 5.0))
    assert [row["step"] for row in files.read_rows(run.scores)] == [3, 3]
    evaluate((6, 5.0), (9, 7.0))
    assert kept(run) == (6, 5.0)
    steps = [row["step"] for row in files.read_rows(run.scores)]
    assert steps == [3, 3, 6, 6, 9, 9]


def test_weights_that_are_not_finite_are_neither_measured_nor_scored(
    tiny_config, run
):
    tiny_config.data.channels = 1
    tiny_config.evaluate_every = 2
    gan = build.gan(tiny_config)
    run.prepare(tiny_config)
    with interrupts_lib.Interrupts() as interrupts:
        records = records_lib.Records(
            tiny_config, run, gan, lambda: Scorer(1.0), interrupts
        )
    functions = [
        callback.function
        for callback in records.callbacks(print)
        if isinstance(callback, callbacks.Every)
    ]
    assert functions.index(records.measure) < functions.index(
        records.scores.score
    )
    bias = gan.generator.layers[-1].bias
    bias.assign(np.full(bias.shape, np.nan))
    with pytest.raises(UserError, match=f"^{bias.path} is not finite after"):
        records.measure(2)
    assert not run.spectral_norms.exists()


def test_spectra_that_collapse_are_warned_of_once(tiny_config, run, caplog):
    """Once for each kernel of a run, also where it is taken up again."""
    tiny_config.spectra.warn_below = 0.6
    tiny_config.data.channels = 1
    gan = build.gan(tiny_config)
    run.prepare(tiny_config)
    caplog.set_level("WARNING", "sngan_tf")
    (conv,) = gan.discriminator.get_layer("normalized_conv_1").kernels

    def measure(step, rank):
        kernel = np.zeros((16, 4), "float32")
        np.fill_diagonal(kernel[:, :rank], 1.0)
        conv.assign(kernel.reshape(conv.shape))
        records_lib.Records(tiny_config, run, gan, None, None).measure(step)

    for step, rank in ((2, 4), (4, 2), (6, 1), (8, 3)):
        measure(step, rank)
    rows = files.read_rows(run.spectral_norms)
    assert [row["effective_ranks"]["conv_1"] for row in rows] == pytest.approx(
        [4, 2, 1, 3], rel=1e-3
    )
    assert [row["collapsed"] for row in rows] == [[], *[["conv_1"]] * 2, []]
    assert rows[-1]["effective_ranks"] == {
        name: effective_rank(values)
        for name, values in singular_values(gan.discriminator).items()
    }
    (message,) = caplog.messages
    assert message == (
        "The spectrum of conv_1 has collapsed at update 4: its effective rank "
        "is 2 of 4 singular values, less than the share spectra.warn_below=0.6"
    )


def test_no_share_is_never_warned_of(tiny_config, run, caplog):
    tiny_config.spectra.warn_below = 0.0
    tiny_config.data.channels = 1
    gan = build.gan(tiny_config)
    run.prepare(tiny_config)
    (conv,) = gan.discriminator.get_layer("normalized_conv_1").kernels
    conv.assign(0 * conv)
    records_lib.Records(tiny_config, run, gan, None, None).measure(2)
    (row,) = files.read_rows(run.spectral_norms)
    assert row["effective_ranks"]["conv_1"] == 0
    assert row["collapsed"] == []
    assert not caplog.messages


def test_grids_of_other_counts_make_one_evolution(tiny_config, run):
    tiny_config.data.channels = 1
    gan = build.gan(tiny_config)
    run.prepare(tiny_config)
    records = records_lib.Records(tiny_config, run, gan, None, None)
    widths = []
    for step, count in ((2, 9), (4, 4)):
        images = np.full((count, 8, 8, 1), step, np.uint8)
        grid = sampler_lib.save_grid(
            run.samples / f"step_{step:08d}.png", images
        )
        widths.append(grid.shape[1])
    records.evolution()
    evolution = images_lib.read_png(run.samples / "evolution.png")
    assert evolution.shape[1] == min(widths) < max(widths)
    assert {2, 4} <= {*np.unique(evolution)}


# What the host reads of a device, for which it waits.


@pytest.fixture
def reads(monkeypatch):
    """Returns a list that grows with every tensor that is read."""
    read = []

    def count(owner, name):
        function = getattr(owner, name)

        def counted(x, *args, **kwargs):
            if isinstance(x, tf_ops.EagerTensor):
                read.append(x)
            return function(x, *args, **kwargs)

        monkeypatch.setattr(owner, name, counted)

    # By these go bool, int, float, format and numpy; NumPy's own by a buffer.
    count(tf_ops.EagerTensor.__base__, "_numpy")
    count(np, "array")
    count(np, "asarray")
    return read


@pytest.mark.parametrize(
    "convert",
    [float, bool, lambda x: x.numpy(), lambda x: np.array(x), "{:.3f}".format],
    ids=["float", "bool", "numpy", "array", "format"],
)
def test_reading_is_seen(reads, convert):
    convert(tf.constant(1.0))
    keras.ops.convert_to_numpy(tf.constant(1.0))
    assert len(reads) == 2


class Mark(step_callback.StepCallback):
    """Notes how much has been read before each execution."""

    def __init__(self, reads):
        super().__init__()
        self.reads, self.counts = reads, []

    def on_train_batch_begin(self, batch, logs=None):
        self.counts.append(len(self.reads))


def gan_of_two_kernels():
    latents, images = keras.Input((2,)), keras.Input((2, 2, 1))
    x = layers.Reshape((2, 2, 1))(layers.Dense(4)(latents))
    y = layers.Flatten()(images)
    for units in (2, 1):
        y = SpectralNormalization(layers.Dense(units))(y)
    return GAN(keras.Model(latents, x), keras.Model(images, y))


@pytest.mark.slow
@pytest.mark.parametrize("per_execution", [1, 2])
def test_nothing_is_read_between_the_steps_of_the_log(
    tiny_config, run, reads, per_execution
):
    tiny_config.updates = 9 * per_execution
    tiny_config.log_every = 3 * per_execution
    tiny_config.sample_every = tiny_config.checkpoint_every = 0
    gan = gan_of_two_kernels()
    gan.compile("sgd", "sgd", steps_per_execution=per_execution)
    run.prepare(tiny_config)
    images = tf.zeros((8, 2, 2, 1), tf.uint8)
    with interrupts_lib.Interrupts() as interrupts:
        records = records_lib.Records(tiny_config, run, gan, None, interrupts)
        mark = Mark(reads)
        gan.fit(
            tf.data.Dataset.from_tensors(images).repeat(),
            steps_per_epoch=tiny_config.updates,
            shuffle=False,
            verbose=0,
            callbacks=[
                callbacks.StopOnNonFinite((tiny_config.log_every, 0)),
                *records.callbacks(None),
                interrupts_lib.StopOnSignal(interrupts, None),
                mark,
            ],
        )
    # Losses to check and to write, and sigma of two kernels; for each number
    # TensorFlow asks whether TensorBoard is written, which the host knows.
    logged = 1 + 1 + 2 + len(["step", *gan.metrics, "images", "steps"]) + 2
    _, *later = np.diff([*mark.counts])
    assert later == [0, logged, 0, 0, logged, 0, 0]
    assert [row["step"] for row in files.read_rows(run.train_log)] == [
        i * tiny_config.log_every for i in (1, 2, 3)
    ]
