"""Spectral Normalization for GANs (Miyato et al., 2018) in TensorFlow/Keras 3.

Layers, `wrap`, `fold` and certificates run on every Keras backend; the rest of
the package trains on TensorFlow. Everything is imported when it is first used,
but for what Keras must know to load a saved model: that is imported with Keras.
"""

import importlib
import importlib.util
import sys

__version__ = "0.1.0"
_HOMES = {
    "GAN": "gan",
    "SpectralCompensation": "gan.spectral_compensation",
    "SpectralNormalization": "layers",
    "fold": "layers",
    "lipschitz_bounds": "certificates",
    "load_run": "runs.loading",
    "margin_radius": "certificates",
    "operator_norms": "certificates",
    "pretrained": "networks.pretrained",
    "register_lipschitz": "certificates",
    "spectral_complexity": "certificates",
    "wrap": "layers",
}
_MODULES = {
    "callbacks": "runs.callbacks",
    "certificates": "certificates",
    "layers": "layers",
    "losses": "gan.losses",
    "metrics": "metrics",
    "networks": "networks",
}
# Where the classes are that saved models name.
_REGISTERED = ("layers", "gan.penalties", "gan.schedules")
_REGISTERED_ON_TENSORFLOW = ("gan.model",)

__all__ = [*_HOMES, *_MODULES]


def __getattr__(name):
    if name in _HOMES:
        home = importlib.import_module(f"sngan_tf.{_HOMES[name]}")
        return getattr(home, name)
    if name in _MODULES:
        return importlib.import_module(f"sngan_tf.{_MODULES[name]}")
    raise AttributeError(f"module 'sngan_tf' has no attribute {name!r}")


class _AfterKeras:
    """Finds Keras as others do, and registers our classes when it is there.

    Keras loads a saved model only if the classes that it names are registered,
    and `import sngan_tf` is to be enough; but to import Keras for it would
    take the command seconds before it could say that a flag is wrong.
    """

    def find_spec(self, name, path=None, target=None):
        if name != "keras":
            return None
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            sys.meta_path.insert(0, self)
        if spec is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module):
                sys.meta_path.remove(self)
                execute(module)
                _register(module)

            spec.loader.exec_module = execute_and_register
        return spec


def _register(keras):
    modules = _REGISTERED
    if keras.backend.backend() == "tensorflow":
        modules += _REGISTERED_ON_TENSORFLOW
    for module in modules:
        importlib.import_module(f"sngan_tf.{module}")


if "keras" in sys.modules:
    _register(sys.modules["keras"])
else:
    sys.meta_path.insert(0, _AfterKeras())
