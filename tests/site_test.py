"""What the site has to have, without building it."""

import importlib
import inspect
import json
import pathlib
import re

import keras
import numpy as np
import pytest

from sngan_tf import layers

DOCS = pathlib.Path(__file__).parents[1] / "docs"
DIRECTIVE = re.compile(
    r"^\.\. auto(class|function|module):: (\S+)\n((?:   :.*\n)*)", re.MULTILINE
)
PUBLIC = (
    "sngan_tf",
    "sngan_tf.callbacks",
    "sngan_tf.certificates",
    "sngan_tf.data",
    "sngan_tf.gan.losses",
    "sngan_tf.gan.methods",
    "sngan_tf.layers",
    "sngan_tf.metrics",
    "sngan_tf.metrics.features",
    "sngan_tf.metrics.protocols",
    "sngan_tf.metrics.scorer",
    "sngan_tf.networks",
)
MOVING = re.findall(
    r"```python\n(.*?)```", (DOCS / "moving.md").read_text(), re.DOTALL
)


def resolved(name):
    """Returns what a dotted name is, such as `sngan_tf.losses.hinge`."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        home, _, attribute = name.rpartition(".")
        return getattr(resolved(home), attribute)


def public_objects(module):
    """Yields `(name, object)` of the functions and classes that are offered."""
    names = getattr(module, "__all__", None)
    for name in names or vars(module):
        found = getattr(module, name)
        if not (inspect.isclass(found) or inspect.isfunction(found)):
            continue
        if names or not (
            name.startswith("_") or found.__module__ != module.__name__
        ):
            yield name, found


def documented():
    """Returns the ids of all functions and classes that docs/api has."""
    found = set()
    for page in (DOCS / "api").glob("*.md"):
        for kind, name, options in DIRECTIVE.findall(page.read_text()):
            target = resolved(name)
            if kind != "module":
                found.add(id(target))
            elif ":no-members:" not in options:
                # Sphinx leaves out what is of another module unless told.
                found.update(
                    id(each)
                    for _, each in public_objects(target)
                    if ":imported-members:" in options
                    or each.__module__ == name
                )
    return found


@pytest.mark.parametrize("name", PUBLIC)
def test_reference_has_every_public_name(name):
    known = documented()
    objects = dict(public_objects(resolved(name)))
    assert objects
    assert [key for key, x in objects.items() if id(x) not in known] == []


def test_every_public_object_has_a_docstring():
    for name in PUBLIC:
        for key, found in public_objects(resolved(name)):
            assert found.__doc__, f"{name}.{key}"


def test_every_page_is_in_the_table_of_contents():
    entries = re.findall(
        r"^(?:.* <)?([\w/]+)>?$", (DOCS / "index.md").read_text(), re.MULTILINE
    )
    for page in [*DOCS.rglob("*.md"), *DOCS.rglob("*.ipynb")]:
        name = page.relative_to(DOCS).with_suffix("").as_posix()
        if name != "index" and not name.startswith(("_build/", "results/")):
            assert name in entries


def test_notebook_is_kept_without_outputs():
    cells = json.loads((DOCS / "train_digits.ipynb").read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code
    assert all(cell["outputs"] == [] for cell in code)
    assert all(cell["execution_count"] is None for cell in code)


def executed(text):
    (block,) = (block for block in MOVING if text in block)
    names = {}
    exec(block, names)
    return names


def test_model_of_keras_layers_moves_as_it_stands():
    names = executed("def plain")
    old, unwrapped, new = (names[x] for x in ("old", "unwrapped", "new"))
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 3))
    np.testing.assert_allclose(unwrapped(images), old(images), atol=1e-6)
    assert [type(layer) for layer in new.layers] == [
        layers.SpectralNormalization,
        keras.layers.Flatten,
        keras.layers.Dense,
    ]
    kernel = np.reshape(new.get_layer("conv").normalized_kernel(), (-1, 16))
    assert np.linalg.norm(kernel, 2) == pytest.approx(1, rel=1e-4)


def test_weights_of_addons_move_as_they_stand():
    names = executed("# in the place of what was saved")
    kernel = names["kernel"]
    np.testing.assert_allclose(
        names["layer"].normalized_kernel(),
        kernel / np.linalg.norm(kernel.reshape(-1, 16), 2),
        rtol=1e-3,
    )


def test_weights_of_torch_move_as_they_stand():
    names = executed("state_dict()")
    w = names["state"]["parametrizations.weight.original"]
    images = np.random.default_rng(1).normal(size=(2, 8, 8, 3))
    patches = np.lib.stride_tricks.sliding_window_view(
        images, (4, 4), axis=(1, 2)
    )
    w_bar = w / np.linalg.norm(w.reshape(16, -1), 2)
    expected = np.einsum("nyxchw,ochw->nyxo", patches, w_bar)
    np.testing.assert_allclose(
        names["layer"](images), expected + names["state"]["bias"], atol=1e-3
    )
