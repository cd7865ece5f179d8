from importlib import machinery

import numpy as np
import pytest

from sngan_tf import metrics
from sngan_tf.errors import MissingExtra
from sngan_tf.metrics import tfgan


@pytest.fixture
def without_tensorflow_gan(monkeypatch):
    tfgan._module.cache_clear()
    monkeypatch.setattr(
        machinery.PathFinder, "find_spec", lambda *args, **kwargs: None
    )
    yield
    tfgan._module.cache_clear()


@pytest.mark.parametrize(
    "score",
    [
        lambda x: metrics.inception_score(x),
        lambda x: metrics.kernel_distance(x, x),
    ],
)
def test_missing_package_is_named_with_its_extra(without_tensorflow_gan, score):
    message = (
        "^The package tensorflow_gan is missing; "
        r'pip install "sngan_tf\[train\]" brings it$'
    )
    with pytest.raises(MissingExtra, match=message):
        score(np.ones((10, 3)))


def test_frechet_distance_needs_no_extra(without_tensorflow_gan):
    features = np.random.default_rng(0).normal(size=(9, 3))
    assert metrics.frechet_distance(features, features) < 1e-12
