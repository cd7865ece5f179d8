"""What is public is annotated, and mypy finds where it is used wrongly."""

import ast
import functools
import importlib
import inspect
import pathlib
import re
import site
import typing
import venv

import pytest

import sngan_tf

PACKAGE = pathlib.Path(sngan_tf.__file__).parent
# All that is public here is annotated: what `__all__` lists, or else what is
# defined there. Methods that Keras has too are left as Keras documents them.
PUBLIC = (
    "certificates",
    "data",
    "errors",
    "gan.adam",
    "gan.augmentation",
    "gan.losses",
    "gan.methods",
    "gan.model",
    "gan.penalties",
    "gan.sampler",
    "gan.schedules",
    "gan.serving",
    "gan.spectral_compensation",
    "images",
    "layers",
    "layers.spectra",
    "metrics",
    "metrics.features",
    "metrics.protocols",
    "metrics.reference",
    "metrics.scorer",
    "networks",
    "networks.pretrained",
    "runs.callbacks",
    "runs.loading",
    "studies",
)

RIGHT = """
import pathlib
from typing import assert_type

import keras
import numpy as np
import sngan_tf
from sngan_tf import GAN, SpectralNormalization, callbacks, data, networks
from sngan_tf.gan import methods
from sngan_tf.gan.adam import Adam
from sngan_tf.metrics import features, protocols, scorer

layer = SpectralNormalization(keras.layers.Dense(8), norm="conv", bound=2)
model = sngan_tf.wrap(keras.Sequential([layer]), layers="x", at_most=True)
bounds = sngan_tf.lipschitz_bounds(sngan_tf.fold(model), (32, 32, 3))
assert_type(bounds.layers[0].rigorous, bool)
assert_type(sngan_tf.layers.spectral_norms(model), dict[str, float])

pictures = data.load("digits", 32)
shape = pictures.images.shape[1:]
method = methods.get("r1_r2", coefficient=2)
generator, discriminator = networks.build("cnn", shape, method=method)
gan = GAN(generator, discriminator, loss="hinge", **method.arguments)
gan.compile(Adam(2e-4, 0.5), discriminator_optimizer="adam")
network = features.load_classifier(pictures, updates=100)
scores = scorer.Scorer(network, protocols.get("quick", 500), pictures)
gan.fit(
    data.training_batches(pictures, batch_size=64, seed=0),
    callbacks=[callbacks.SampleGrid("grids"), callbacks.Scores(scores)],
)
assert_type(gan.sampler.many(seed=0, count=16), np.ndarray)
distance = sngan_tf.metrics.frechet_distance([[0.0], [1.0]], np.ones((2, 1)))
assert_type(distance, float)
sngan_tf.losses.Loss(lambda real, fake: fake - real, lambda fake: -fake)
run = sngan_tf.load_run(pathlib.Path("runs/digits"), checkpoint="best")
assert_type(run, GAN)
"""
WRONG = {
    'SpectralNormalization(layer, norm="matrx")': "arg-type",
    "SpectralNormalization(layer, output_axes=-1)": "arg-type",
    "sngan_tf.wrap(model, layers=['conv'])": "arg-type",
    "sngan_tf.pretrained()": "call-arg",
    'sngan_tf.SpectralCompensation("statik")': "arg-type",
    'sngan_tf.load_run("runs/digits", checkpoint="newest")': "arg-type",
    "sngan_tf.spectral_normalization": "attr-defined",
    "networks.build('cnn', 32)": "arg-type",
    "GAN(generator, discriminator, loss=None)": "arg-type",
    "gan.compile(Adam(2e-4))": "call-arg",
    "gan.sampler.many(0)": "call-arg",
    "sngan_tf.metrics.kernel_distance(distance)": "call-arg",
    "protocols.get('fid50k', 500)": "arg-type",
    "scorer.Scorer(network, network, pictures)": "arg-type",
    "scores.generated(generator.layers, 'first')": "arg-type",
}


def public(module):
    """Returns `{name: function or class}`."""
    names = getattr(module, "__all__", None) or [
        name
        for name, value in vars(module).items()
        if getattr(value, "__module__", None) == module.__name__
        and not name.startswith("_")
    ]
    found = {name: getattr(module, name) for name in names}
    return {
        name: value
        for name, value in found.items()
        if inspect.isfunction(value) or inspect.isclass(value)
    }


def methods_of(kind):
    """Yields `(name, function)` of what this package defines of a class."""
    ours = [c for c in kind.__mro__ if c.__module__.startswith("sngan_tf")]
    others = [c for c in kind.__mro__ if c not in ours and c is not object]
    for cls in ours:
        for name, value in vars(cls).items():
            if name.startswith("_") and name not in ("__init__", "__call__"):
                continue
            if name != "__init__" and any(name in vars(c) for c in others):
                continue
            if isinstance(value, functools.cached_property):
                value = value.func
            elif isinstance(value, property):
                value = value.fget
            elif isinstance(value, classmethod):
                value = value.__func__
            if inspect.isfunction(value):
                yield name, value


def bare(function, is_method):
    """Returns which parameters, and "return", have no annotation."""
    signature = inspect.signature(function)
    parameters = [*signature.parameters.values()][is_method:]
    found = [p.name for p in parameters if p.annotation is p.empty]
    if function.__name__ == "__init__":
        return found
    no_return = signature.return_annotation is signature.empty
    return found + ["return"] * no_return


@pytest.mark.parametrize("name", PUBLIC)
def test_all_that_is_public_is_annotated(name):
    module = importlib.import_module(f"sngan_tf.{name}")
    found = {}
    for key, value in public(module).items():
        if inspect.isfunction(value):
            found[key] = bare(value, False)
            typing.get_type_hints(value)
            continue
        typing.get_type_hints(value)
        for method, function in methods_of(value):
            found[f"{key}.{method}"] = bare(function, True)
            typing.get_type_hints(function)
    assert found
    assert {key: names for key, names in found.items() if names} == {}


def test_stub_of_the_package_has_every_name_from_its_home():
    tree = ast.parse((PACKAGE / "__init__.pyi").read_text())
    found = {
        alias.asname: f"{node.module}.{alias.name}"
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    homes = {
        name: f"sngan_tf.{home}.{name}"
        for name, home in sngan_tf._HOMES.items()
    }
    # Where the lookup of `sngan_tf.gan` ends, which no checker can follow.
    homes["GAN"] = "sngan_tf.gan.model.GAN"
    modules = {
        name: f"sngan_tf.{home}" for name, home in sngan_tf._MODULES.items()
    }
    assert found == homes | modules


@pytest.mark.slow
def test_users_are_told_of_wrong_uses_alone(tmp_path, monkeypatch):
    api = pytest.importorskip("mypy.api", reason="mypy is in dev")
    # As an installed package, which mypy reads only if it has `py.typed`; what
    # is in the current folder it reads anyway.
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MYPYPATH", raising=False)
    venv.create(tmp_path / "venv")
    (packages,) = (tmp_path / "venv").glob("lib/*/site-packages")
    paths = [PACKAGE.parent, *site.getsitepackages()]
    (packages / "all.pth").write_text("\n".join(map(str, paths)))
    first = RIGHT.count("\n") + 1
    user = tmp_path / "user.py"
    user.write_text(RIGHT + "\n".join(WRONG))
    said, trouble, _ = api.run(
        [
            *("--config-file=", "--ignore-missing-imports"),
            f"--cache-dir={tmp_path / 'cache'}",
            f"--python-executable={tmp_path / 'venv' / 'bin' / 'python'}",
            str(user),
        ]
    )
    found = re.findall(r"user\.py:(\d+): error: .*\[([a-z-]+)\]", said)
    expected = [(str(first + i), code) for i, code in enumerate(WRONG.values())]
    assert (found, trouble) == (expected, ""), said
