"""The example's certificate holds against its attack, and its numbers fit."""

import certify_classifier as example
import digits
import numpy as np
import pytest

from sngan_tf import certificates
from sngan_tf import images as images_lib

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["no normalization", "conv, bound 1"])
def classifier(request):
    """Returns a classifier trained for a moment, and held-out digits."""
    training, held_out = digits.load()
    model = example.trained(request.param, training, seed=0, epochs=4)
    return model, *(values[:100] for values in held_out)


def test_no_attack_within_the_certified_radius_changes_a_prediction(classifier):
    model, images, _ = classifier
    radii = certificates.margin_radius(model, images)
    assert np.median(radii) > 0.01
    attacked = example.attacked(model, images, radii, steps=30)
    moved = np.linalg.norm((attacked - images).reshape(len(images), -1), axis=1)
    np.testing.assert_allclose(moved, radii, rtol=1e-3, atol=1e-6)
    np.testing.assert_array_equal(
        example.predictions(model, attacked), example.predictions(model, images)
    )


def test_attack_finds_more_than_noise_of_its_size(classifier):
    model, images, labels = classifier
    epsilon = 0.6
    attacked = example.attacked(model, images, epsilon)
    moved = np.linalg.norm((attacked - images).reshape(len(images), -1), axis=1)
    assert moved.max() <= epsilon * (1 + 1e-5)
    noise = np.random.default_rng(0).normal(size=images.shape)
    noise *= epsilon / np.sqrt(np.sum(noise**2, (1, 2, 3), keepdims=True))
    right = [
        np.mean(example.predictions(model, shown) == labels)
        for shown in (images, images + noise, attacked)
    ]
    assert right[0] > 0.5
    assert right[2] < right[1] - 0.2


def test_measures_start_at_the_accuracy(classifier, monkeypatch):
    model, images, labels = classifier
    monkeypatch.setattr(example, "EPSILONS", np.array([0.0, 0.3]))
    found = example.measured(model, images, labels)
    right = example.predictions(model, images) == labels
    assert found["accuracy"] == np.mean(right)
    assert found["certified"][0] == found["attacked"][0] == np.mean(right)
    assert found["noisy"][0] == np.mean(right)
    assert found["certified"][-1] <= found["certified"][0]
    radii = certificates.margin_radius(model, images)[right]
    assert found["radius"] == np.median(radii)


def test_certificate_of_normalised_layers_is_that_of_their_bounds():
    training, _ = digits.load()
    model = example.trained("conv, bound 1.5", training, seed=0, epochs=1)
    wrapped = [layer for layer in model.layers if hasattr(layer, "bound")]
    for layer in wrapped:
        layer.settle()
    for name, norm in certificates.operator_norms(model).items():
        np.testing.assert_allclose(norm.upper, 1.5, rtol=0.02, err_msg=name)
    upper = certificates.lipschitz_bounds(model, ascent_steps=0).upper
    np.testing.assert_allclose(upper, 1.5 ** len(wrapped), rtol=0.05)


def test_whole_example_runs(monkeypatch, tmp_path, capsys):
    name = "matrix, bound 1"
    monkeypatch.setattr(example, "METHODS", {name: example.METHODS[name]})
    monkeypatch.setattr(example, "EPSILONS", np.array([0.0, 0.2]))
    figure = tmp_path / "certified.png"
    flags = [str(figure), "--epochs=1", "--seeds=2"]
    monkeypatch.setattr("sys.argv", ["certify_classifier.py", *flags])
    example.main()
    rows = capsys.readouterr().out.splitlines()
    accuracies, radii = (
        [float(value) for value in row.split()[-2:]]
        for row in rows
        if "accuracy" in row or "radius" in row
    )
    assert all(0.2 < value <= 1 for value in accuracies)
    assert all(0 < value < 1 for value in radii)
    assert images_lib.read_png(figure).std() > 5
