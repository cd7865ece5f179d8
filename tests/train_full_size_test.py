"""The example of training at full size, on JAX alone."""

import functools
import itertools
import os
import pathlib
import subprocess
import sys
import types
from importlib import machinery

import keras
import numpy as np
import pytest
import small
from PIL import Image

if keras.backend.backend() != "jax":
    pytest.skip("KERAS_BACKEND=jax runs it", allow_module_level=True)

import jax
import jax_pictures
import jax_updates
import train_full_size
import train_jax
from jax import numpy as jnp

from sngan_tf import files
from sngan_tf import losses
from sngan_tf.layers import spectral_norms

SIZE = 8
RATE = 0.5
# Takes the steps of SGD that the other side takes, on the same images.
ON_TENSORFLOW = """
import sys

import keras
import numpy as np
import tensorflow as tf

found = dict(np.load(sys.argv[1]))
wrapper = keras.layers.SpectralNormalization
model = keras.Sequential([
    keras.Input(found["real"].shape[2:]),
    wrapper(keras.layers.Conv2D(4, 4, 2, "same")),
    keras.layers.LeakyReLU(0.1),
    keras.layers.Flatten(),
    wrapper(keras.layers.Dense(1)),
])
us = [v for v in model.variables if v.name == "vector_u"]
for i, variable in enumerate(model.trainable_variables):
    variable.assign(found[f"weight_{i}"])
for i, variable in enumerate(us):
    variable.assign(found[f"u_{i}"])
for real, fake in zip(found["real"], found["fake"]):
    with tf.GradientTape() as tape:
        logits = model(tf.concat([real, fake], 0), training=True)
        real_logits, fake_logits = tf.split(logits, 2)
        loss = tf.reduce_mean(tf.nn.softplus(-real_logits))
        loss += tf.reduce_mean(tf.nn.softplus(fake_logits))
    slopes = tape.gradient(loss, model.trainable_variables)
    for variable, slope in zip(model.trainable_variables, slopes):
        variable.assign_sub(float(sys.argv[2]) * slope)
np.savez(sys.argv[1], *model.trainable_variables, *us, loss=loss)
"""


def started(method, rates=(0.0, 0.0), loss="non_saturating"):
    """Returns the update of small networks, their state and their `u`."""
    pair = small.build("cnn", (SIZE, SIZE, 1), 4, 1, method)
    optimizers = [keras.optimizers.SGD(rate) for rate in rates]
    state = train_jax.initial_state(*pair, *optimizers)
    us = jax_updates.initial_us(state, 0)
    return (*pair, *optimizers, loss), state, us


def test_keras_way_is_that_of_tensorflow(tmp_path):
    # `sys.modules` says that there is none.
    if not machinery.PathFinder.find_spec("tensorflow"):
        pytest.skip("TensorFlow is held against it")
    (generator, *others), state, us = started("none", rates=(0.0, RATE))
    update, _ = train_jax.updates(generator, *others)
    rng = np.random.default_rng(0)
    real = rng.uniform(-1, 1, (2, 3, SIZE, SIZE, 1)).astype("float32")
    keys = jax.random.split(jax.random.key(0), 2)
    fake = [
        generator(jax.random.normal(key, (3, 4)), training=True) for key in keys
    ]
    _, (weights, _, _) = state
    path = tmp_path / "exchanged.npz"
    np.savez(
        path,
        real=real,
        fake=np.stack(fake),
        **{f"weight_{i}": weight for i, weight in enumerate(weights)},
        **{f"u_{i}": u for i, u in enumerate(us)},
    )
    for key, images in zip(keys, real):
        state, us = jax_updates.normalized(state, us)
        state, loss = update(state, key, images)
    subprocess.run(
        [sys.executable, "-c", ON_TENSORFLOW, path, str(RATE)],
        env={**os.environ, "KERAS_BACKEND": "tensorflow"},
        check=True,
    )
    _, (weights, _, _) = state
    with np.load(path) as theirs:
        np.testing.assert_allclose(loss, theirs["loss"], rtol=1e-5)
        for i, ours in enumerate([*weights, *us]):
            np.testing.assert_allclose(
                ours, theirs[f"arr_{i}"], rtol=1e-4, atol=1e-6
            )


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_kernel_becomes_that_of_the_layer_of_keras(scale):
    layer = keras.layers.SpectralNormalization(keras.layers.Conv2D(4, 3))
    layer.build((1, 5, 5, 2))
    layer.kernel.assign(scale * layer.kernel)
    before = layer.kernel.value, layer.vector_u.value
    layer(np.zeros((1, 5, 5, 2)), training=True)
    found = jax_updates.normalized_kernel(*before)
    for ours, theirs in zip(found, (layer.kernel, layer.vector_u)):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


def test_kernels_are_normalized_once_per_discriminator_update():
    """And once more where they judge for the generator, which keeps nothing."""
    parts, state, us = started("none")
    generator, discriminator = parts[:2]
    weights, start = state[1][0], us
    update = jax.jit(jax_updates.one_update(*parts, batch=2))
    images = np.zeros((3, 2, SIZE, SIZE, 1), "uint8")
    key = jax.random.key(0)
    (state, us), (_, loss) = update((state, us), key, images)
    for before, after, u, found, held in zip(
        jax_updates.kernels(weights),
        jax_updates.kernels(state[1][0]),
        start,
        us,
        jax_updates.kernels(discriminator.trainable_variables),
    ):
        w = np.reshape(before, (-1, before.shape[-1])).T
        u = np.ravel(u)
        for update in range(4):
            v = w.T @ u / np.linalg.norm(w.T @ u)
            next_u = w @ v / np.linalg.norm(w @ v)
            if update == 3:
                np.testing.assert_allclose(np.ravel(found), u, rtol=1e-4)
                matrix = np.reshape(after, (-1, after.shape[-1])).T
                np.testing.assert_allclose(matrix, w, rtol=1e-4, atol=1e-5)
            u, w = next_u, w / (next_u @ w @ v)
        held.assign(np.reshape(w.T, held.shape))
    latents = jax.random.normal(jax.random.split(key, 4)[0], (2, 4))
    logits = discriminator(generator(latents, training=True))
    expected = losses.get("non_saturating").generator(logits)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_one_call_makes_the_updates_of_several():
    parts, state, _ = started("wgan_gp", (RATE, RATE), "wasserstein")
    update = jax_updates.one_update(*parts, batch=2)
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (6, SIZE, SIZE, 1), dtype="uint8")
    rows = rng.integers(0, 6, (2, 2, 2))
    key, numbers = jax.random.key(0), np.array([7, 8])
    found, each = jax.jit(functools.partial(jax_updates.many_updates, update))(
        (state, ()), jnp.asarray(pictures), key, numbers, rows
    )
    expected = state, ()
    for i, number in enumerate(numbers):
        expected, last = jax.jit(update)(
            expected, jax.random.fold_in(key, number), pictures[rows[i]]
        )
        for loss, own in zip(each, last):
            np.testing.assert_allclose(loss[i], own, rtol=1e-4)
    for ours, own in zip(jax.tree.leaves(found), jax.tree.leaves(expected)):
        np.testing.assert_allclose(ours, own, rtol=1e-3, atol=1e-5)


def test_penalty_holds_slopes_at_1():
    slope = np.full((1, 2, 2, 1), 1.5, "float32")  # Of length 3.

    def judge(images):
        return jnp.sum(slope * images, axis=(1, 2, 3))[:, None]

    images = np.ones((3, 2, 2, 1), "float32")
    found = jax_updates.gradient_penalty(
        judge, images, -images, jax.random.key(0)
    )
    np.testing.assert_allclose(found, 10 * (3 - 1) ** 2, rtol=1e-5)


def test_penalty_is_taken_between_real_and_fake():
    def judge(images):  # Of slope 2 x.
        return jnp.sum(images**2, axis=(1, 2, 3))[:, None]

    key = jax.random.key(0)
    real, fake = np.full((5, 1, 1, 1), 3.0), np.ones((5, 1, 1, 1))
    found = jax_updates.gradient_penalty(judge, real, fake, key)
    mix = np.asarray(jax.random.uniform(key, (5, 1, 1, 1)))
    between = mix * real + (1 - mix) * fake
    expected = 10 * np.mean((np.abs(2 * between) - 1) ** 2)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_every_epoch_has_every_picture_once():
    line = train_full_size.shuffled(3, 0, 30, of=10)
    epochs = line.reshape(3, 10)
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch), np.arange(10))
    assert not np.array_equal(epochs[0], epochs[1])
    for start, count in ((0, 4), (4, 6), (7, 21), (10, 10)):
        np.testing.assert_array_equal(
            train_full_size.shuffled(3, start, count, of=10),
            line[start : start + count],
        )


def test_pixels_survive_their_noise():
    levels = np.tile(np.arange(256, dtype="uint8"), (64, 1))
    images = jax_pictures.dequantized(levels, jax.random.key(0))
    assert images.min() >= -1
    assert images.max() < 1
    np.testing.assert_array_equal(jax_pictures.to_uint8(images), levels)
    fraction = (np.asarray(images) + 1) * 128 - levels
    np.testing.assert_allclose(fraction.mean(), 0.5, atol=0.01)
    np.testing.assert_array_equal(
        jax_pictures.to_uint8(np.array([-1.5, -1.0, 1.0, 1.5])),
        [0, 0, 255, 255],
    )


def test_score_counts_classes():
    sure = np.eye(4)[np.arange(12) % 4] * 2000.0
    np.testing.assert_allclose(jax_pictures.classifier_score(sure), 4.0)
    np.testing.assert_allclose(jax_pictures.classifier_score(sure[:1]), 1.0)
    logits = np.random.default_rng(0).normal(size=(9, 4))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    kl = shares * np.log(shares / shares.mean(axis=0))
    np.testing.assert_allclose(
        jax_pictures.classifier_score(logits), np.exp(kl.sum(axis=1).mean())
    )


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Returns the flags of pictures and of a classifier of means."""
    folder = tmp_path_factory.mktemp("given")
    rng = np.random.default_rng(0)
    for name in "ab":
        (folder / "pictures" / name).mkdir(parents=True)
        for i in range(5):
            picture = rng.integers(0, 256, (SIZE, SIZE, 3), dtype="uint8")
            Image.fromarray(picture).save(
                folder / "pictures" / name / f"{i}.png"
            )
    images = keras.Input((SIZE, SIZE, 3), dtype="uint8")
    x = keras.layers.Rescaling(1 / 255)(images)
    features = keras.layers.GlobalAveragePooling2D()(x)
    logits = keras.layers.Dense(2)(features)
    keras.Model(images, [features, logits]).save(folder / "classifier.keras")
    return [
        f"--pictures={folder / 'pictures'}",
        f"--classifier={folder / 'classifier.keras'}",
        "--batch=2",
        "--samples=9",
        "--updates_per_call=2",
    ]


@pytest.fixture
def without_tensorflow(monkeypatch):
    # To layers that preprocess None is a module too.
    monkeypatch.delitem(sys.modules, "tensorflow")
    yield
    assert "tensorflow" not in sys.modules


@pytest.fixture
def run(given, without_tensorflow, monkeypatch):
    """Returns a function of further flags that runs the example."""

    def run(*flags):
        monkeypatch.setattr(sys, "argv", ["", *given, *map(str, flags)])
        train_full_size.main()

    build = functools.partial(small.build, latent_dim=4)
    monkeypatch.setattr(train_full_size.networks, "build", build)
    return run


def last(folder):
    (*_, row) = files.read_rows(folder / "train.jsonl")
    return {name: row[name] for name in ("step", "d_loss", "g_loss")}


def test_runs_are_trained_in_turns(run, tmp_path, capsys):
    methods = "spectral_norm", "wgan_gp"
    run(
        *("--method", *methods, "--updates=4", "--evaluate_every=2"),
        f"--out={tmp_path}",
    )
    said = [
        line.partition(":")[0] for line in capsys.readouterr().out.split("\n")
    ]
    names = [f"{method}-C-0" for method in methods]
    assert said[:-1] == names * 2
    for name in names:
        folder = tmp_path / name
        assert last(folder)["step"] == 4
        generator = keras.models.load_model(folder / "generator.keras")
        latents = jax.random.normal(jax.random.key(0), (9, 4))
        images = np.asarray(jax_pictures.to_uint8(generator(latents)))
        with Image.open(folder / "samples" / "step_00000004.png") as grid:
            rows = np.asarray(grid).reshape(3, SIZE, 3, SIZE, 3).swapaxes(1, 2)
        np.testing.assert_array_equal(rows.reshape(images.shape), images)
        scores = files.read_rows(folder / "scores.jsonl")
        assert [(row["step"], row["metric"]) for row in scores] == [
            (step, metric)
            for step in (2, 4)
            for metric in ("classifier_score", "frechet_classifier_distance")
        ]
        assert {row["method"] for row in scores} == {name.partition("-")[0]}
    folder = tmp_path / "spectral_norm-C-0"
    folded = keras.models.load_model(folder / "discriminator.keras")
    assert {type(x).__module__.partition(".")[0] for x in folded.layers} == {
        "keras"
    }
    for norm in spectral_norms(folded).values():
        np.testing.assert_allclose(norm, 1.0, rtol=1e-2)


def test_run_that_time_cut_short_goes_on(run, tmp_path, monkeypatch):
    flags = [
        "--method=keras_spectral_norm",
        "--updates=4",
        "--evaluate_every=4",
    ]
    run(*flags, f"--out={tmp_path / 'whole'}")
    flags.append(f"--out={tmp_path / 'cut'}")
    cut = tmp_path / "cut" / "keras_spectral_norm-C-0"
    # Every look at the clock takes a second; a call takes three.
    clock = types.SimpleNamespace(monotonic=itertools.count().__next__)
    with monkeypatch.context() as patch:
        patch.setattr(train_full_size, "time", clock)
        run(*flags, f"--minutes={3 / 60}")
    assert last(cut)["step"] == 2
    assert {row["step"] for row in files.read_rows(cut / "scores.jsonl")} == {2}
    # Of a run that was killed after its last state.
    files.append_row(cut / "train.jsonl", {"step": 3})
    run(*flags)
    assert [r["step"] for r in files.read_rows(cut / "train.jsonl")] == [2, 4]
    whole = tmp_path / "whole" / cut.name
    assert last(cut) == last(whole)
    with (
        np.load(cut / "state.npz") as ours,
        np.load(whole / "state.npz") as theirs,
    ):
        for name in ours.keys() - {"seconds"}:
            np.testing.assert_array_equal(ours[name], theirs[name])
    with pytest.raises(ValueError, match=r"must be of the run .* 0\.5"):
        run(*flags, "--width=0.5")


def test_run_that_diverges_ends(run, tmp_path, monkeypatch, capsys):
    settings = {"C": (1e30, 0.5, 0.999, 1)}
    monkeypatch.setattr(train_full_size.settings_lib, "SETTINGS", settings)
    run(
        *("--method=none", "--updates=4", "--evaluate_every=2"),
        f"--out={tmp_path}",
    )
    assert "2: loss is not finite" in capsys.readouterr().out
    written = [path.name for path in (tmp_path / "none-C-0").iterdir()]
    assert written == ["train.jsonl"]


def test_real_pictures_are_no_distance_away(
    given, without_tensorflow, tmp_path
):
    pictures, classifier = (flag.partition("=")[2] for flag in given[:2])
    folder = pathlib.Path(pictures)
    jax_pictures.pack(folder, tmp_path / "pictures.npz")
    images, reference = jax_pictures.load(tmp_path / "pictures.npz")
    np.testing.assert_array_equal(images, jax_pictures.load(folder)[0])
    assert reference == f"folder:{folder.resolve()}"
    scorer = jax_pictures.Scorer(classifier, images, reference, 10)
    _, distance = scorer.rows(0, images)
    np.testing.assert_allclose(distance["value"], 0.0, atol=1e-6)
    _, distance = scorer.rows(0, 255 - images)
    means = np.mean(images / 255.0, axis=(0, 1, 2))
    # Mirrored features have the same covariance.
    expected = np.sum((1 - 2 * means) ** 2)
    np.testing.assert_allclose(distance["value"], expected, rtol=1e-3)
    assert distance["num_real"] == distance["num_fake"] == 10
