import numpy as np
import pytest
import samples

from sngan_tf import metrics

TWO_SETS = [
    metrics.frechet_distance,
    metrics.kernel_distance,
    metrics.precision_recall,
]


@pytest.mark.parametrize("metric", TWO_SETS)
@pytest.mark.parametrize("name", ["real_features", "fake_features"])
@pytest.mark.parametrize("shape", [(9,), (9, 2, 2), (1, 2), (0, 2), (9, 0)])
def test_features_of_other_shapes_are_an_error(metric, name, shape):
    sets = {"real_features": np.eye(9), "fake_features": np.eye(9)}
    sets[name] = np.zeros(shape)
    with pytest.raises(ValueError, match=f"`{name}` must") as raised:
        metric(**sets)
    assert f"Received: shape {shape}" in str(raised.value)


@pytest.mark.parametrize("metric", TWO_SETS)
def test_features_of_two_sizes_are_an_error(metric):
    with pytest.raises(ValueError, match=r"shapes \(9, 3\) and \(9, 4\)"):
        metric(np.zeros((9, 3)), np.zeros((9, 4)))


@pytest.mark.parametrize("metric", TWO_SETS)
@pytest.mark.parametrize("name", ["real_features", "fake_features"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_are_an_error(metric, name, value):
    sets = {"real_features": np.ones((1100, 2)), "fake_features": np.eye(9, 2)}
    sets[name][-1, 1] = value
    with pytest.raises(ValueError, match=f"`{name}` must be finite"):
        metric(**sets)


def test_intra_class_distance_refuses_features_that_are_not_finite():
    features, labels = samples.correlated(8, 2), np.arange(8) % 2
    with pytest.raises(ValueError, match="`fake_features` must be finite"):
        metrics.intra_class_frechet_distance(
            features, labels, np.full((8, 2), np.nan), labels
        )
