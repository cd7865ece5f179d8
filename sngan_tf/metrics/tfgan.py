"""The one door to tensorflow-gan.

`import tensorflow_gan` (2.1.0) fails on TensorFlow >= 2.16: its packages
import estimators, which TensorFlow has removed (tensorflow/gan#55). The
modules needed here are sound; they import once their parent packages stand in
`sys.modules` without having run their `__init__`.
"""

import functools
import importlib
import pathlib
import sys
import types
from importlib import machinery

from sngan_tf import errors

_PACKAGES = (
    "tensorflow_gan",
    "tensorflow_gan.python",
    "tensorflow_gan.python.eval",
)


def classifier_metrics():
    """Returns the module `tensorflow_gan.python.eval.classifier_metrics`."""
    with errors.extra("train"):
        return _module("classifier_metrics")


def inception_metrics():
    """Returns the module `tensorflow_gan.python.eval.inception_metrics`."""
    with errors.extra("train"):
        return _module("inception_metrics")


@functools.cache
def _module(name):
    spec = machinery.PathFinder.find_spec(_PACKAGES[0])
    if spec is None:
        raise ModuleNotFoundError(name=_PACKAGES[0])
    site = pathlib.Path(spec.submodule_search_locations[0]).parent
    for package_name in _PACKAGES:
        if package_name not in sys.modules:
            package = types.ModuleType(package_name)
            package.__path__ = [str(site.joinpath(*package_name.split(".")))]
            sys.modules[package_name] = package
    return importlib.import_module(f"{_PACKAGES[-1]}.{name}")
