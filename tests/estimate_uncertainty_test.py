"""The example's Gaussian process, against NumPy, and what it tells apart."""

import estimate_uncertainty as example
import keras
import numpy as np
import pytest
from sklearn import datasets

from sngan_tf import images as images_lib
from sngan_tf.layers import spectral_norms


@pytest.fixture
def process():
    """Returns a layer of 3 classes with beta of some size, and its inputs."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(40, 5)).astype(np.float32)
    layer = example.GaussianProcess(3, examples=40, features=16, ridge=0.5)
    layer.build(inputs.shape)
    layer.beta.assign(rng.normal(size=(16, 3)))
    return layer, inputs


def features_of(layer, inputs):
    directions, phases = (
        np.asarray(v, np.float64) for v in (layer.directions, layer.phases)
    )
    return np.sqrt(2 / layer.features) * np.cos(inputs @ directions + phases)


def test_covariance_is_that_of_the_laplace_approximation(process):
    layer, inputs = process
    layer.fit_covariance(inputs)
    phi = features_of(layer, inputs)
    logits = phi @ np.asarray(layer.beta, np.float64)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    for k in range(3):
        precision = 0.5 * np.eye(16)
        for row, share in zip(phi, p[:, k]):
            precision += share * (1 - share) * np.outer(row, row)
        np.testing.assert_allclose(
            layer.covariance[k], np.linalg.inv(precision), rtol=1e-4, atol=1e-6
        )


def test_logits_are_those_of_the_mean_field(process):
    layer, inputs = process
    layer.fit_covariance(inputs)
    phi = features_of(layer, inputs)
    means = phi @ np.asarray(layer.beta, np.float64)
    covariance = np.asarray(layer.covariance, np.float64)
    variances = np.stack([np.sum(phi @ c * phi, 1) for c in covariance], 1)
    np.testing.assert_allclose(
        layer(inputs, training=True), means, rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(
        layer(inputs),
        means / np.sqrt(1 + np.pi / 8 * variances),
        rtol=1e-4,
        atol=1e-5,
    )


def test_random_features_approximate_the_kernel():
    layer = example.GaussianProcess(1, examples=1, features=2_000, length=2.0)
    inputs = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    layer.build(inputs.shape)
    phi = np.asarray(layer.of_features(inputs))
    squares = np.sum((inputs[:, None] - inputs) ** 2, -1)
    np.testing.assert_allclose(
        phi @ phi.T, np.exp(-squares / 2 / 2.0**2), atol=0.1
    )


@pytest.mark.slow
def test_prior_is_that_of_the_ridge(process):
    layer, inputs = process
    layer(inputs)
    expected = 0.5 / 2 / 40 * np.sum(np.asarray(layer.beta) ** 2)
    np.testing.assert_allclose(np.sum(layer.losses), expected, rtol=1e-5)


@pytest.mark.slow
def test_sngp_is_unsure_far_from_the_moons_and_softmax_is_not():
    moons = datasets.make_moons(200, noise=0.1, random_state=0)
    far = np.array([[-3.0, -3.0], [4.0, 3.5], [4.0, -3.0]])
    found = {}
    for method in ("softmax", "SNGP"):
        model = example.trained(method, *moons, 2, seed=0, epochs=60)
        near = example.uncertainty(model, moons[0])
        found[method] = np.mean(near), np.min(example.uncertainty(model, far))
    assert found["softmax"][1] < 0.1
    assert found["SNGP"][1] > 0.3 > 2 * found["SNGP"][0]
    norms = spectral_norms(model)
    branches = [v for k, v in norms.items() if k != next(iter(norms))]
    assert len(branches) == 4
    assert max(branches) < 1.2


@pytest.mark.slow
def test_unknown_digits_are_told_better_than_by_chance():
    keras.utils.set_random_seed(0)
    accuracy, area = example.unknown_digits("SNGP", (8, 9), seed=0, epochs=8)
    assert accuracy > 0.9
    assert 0.8 < area <= 1.0


@pytest.mark.slow
def test_whole_example_runs(monkeypatch, tmp_path, capsys):
    methods = {name: example.METHODS[name] for name in ("softmax", "SNGP")}
    monkeypatch.setattr(example, "METHODS", methods)
    monkeypatch.setattr(example, "LEFT_OUT", ((8, 9),))
    figure = tmp_path / "uncertainty.png"
    flags = [str(figure), "--epochs=1", "--moon_epochs=1"]
    monkeypatch.setattr("sys.argv", ["estimate_uncertainty.py", *flags])
    example.main()
    rows = capsys.readouterr().out.splitlines()[-2:]
    for name, row in zip(methods, rows):
        assert row.startswith(name)
        accuracy, area = map(float, row.split()[-2:])
        assert 0.2 < accuracy <= 1
        assert 0.5 < area <= 1
    assert images_lib.read_png(figure).std() > 5
