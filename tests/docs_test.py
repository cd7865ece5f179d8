import pathlib
import re

import keras
import numpy as np
import pytest
import small

from sngan_tf import files
from sngan_tf import networks
from sngan_tf.certificates import rules

DOCS = pathlib.Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
README = BLOCK.findall((DOCS.parent / "README.md").read_text())
LAYER = BLOCK.findall((DOCS / "layer.md").read_text())
CERTIFICATES = BLOCK.findall((DOCS / "certificates.md").read_text())


@pytest.mark.parametrize("number", range(len(LAYER)))
def test_examples_of_the_layer_run_as_they_stand(number, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keras.Sequential([keras.Input((2,))]).save("model.keras")
    names = {}
    exec(LAYER[number], names)
    if "bounded" in names:
        kinds = [type(layer).__name__ for layer in names["part"].layers]
        assert kinds == ["SpectralNormalization", "Flatten", "Dense"]
        kinds = [type(layer).__name__ for layer in names["plain"].layers]
        assert kinds == ["Conv2D", "Flatten", "Dense"]
    for model, norms, bound in (
        ("features", ["conv", "conv"], 0.95),
        ("classifier", ["conv", "conv"], 1.0),
        ("value", ["matrix"], 1.0),
    ):
        if model in names:
            found = [x for x in names[model].layers if hasattr(x, "at_most")]
            assert [layer.norm for layer in found] == norms
            assert all(x.at_most and x.bound == bound for x in found)
    if "theirs" in names:
        assert names["ours"] < 1e-6
        assert names["theirs"] == pytest.approx(0.36, abs=0.005)
    if "Bilinear" in names:
        layer = names["layer"]
        assert layer(keras.ops.ones((2, 3))).shape == (2, 8, 4)
        (u,) = (v for v in layer.variables if v.name == "u")
        assert u.shape == (8,)


def test_certificates_run_as_they_stand(monkeypatch):
    monkeypatch.setattr(rules, "_TAUGHT", {})
    names = {}
    exec(CERTIFICATES[0], names)
    lower, upper, how = names["norms"]["logits"]
    assert 0 < lower < upper < lower * (1 + 1e-6)
    assert how == "svd"
    bounds = names["bounds"]
    assert 0 < bounds.lower < bounds.upper
    product = np.prod([layer.bound for layer in bounds.layers])
    assert bounds.upper == pytest.approx(product)
    assert names["radii"].shape == (5,)
    assert names["capacity"] > bounds.upper
    exec(CERTIFICATES[1], names)
    assert names["sngan_tf"].lipschitz_bounds(
        names["model"], ascent_steps=0
    ).upper == pytest.approx(1)


def test_pretrained_generator_of_the_readme_draws():
    (block,) = (block for block in README if "pretrained(" in block)
    names = {}
    exec(block, names)
    assert names["images"].shape == (16, 16, 16, 1)


@pytest.mark.slow
def test_gan_of_the_readme_runs_as_it_stands(
    monkeypatch, shared_cache, tmp_path
):
    blocks = "".join(block for block in README if "gan.fit" in block)
    for given, small_one in {
        "steps_per_epoch=1000": "steps_per_epoch=2",
        "steps_per_epoch=20_000": "steps_per_epoch=1",
        "updates=600": "updates=1",
        '"quick", 1000': '"quick", 20',
        '("digits", 32)': '("digits", 8)',
        "(32, 32, 1)": "(8, 8, 1)",
    }.items():
        assert blocks.count(given) == 1, given
        blocks = blocks.replace(given, small_one)
    monkeypatch.setattr(
        networks,
        "build",
        lambda name, shape: small.build(name, shape, latent_dim=128, width=1.0),
    )
    monkeypatch.setenv("SNGAN_TF_CACHE", str(shared_cache))
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(blocks, names)
    assert int(names["gan"].step.value) == 3
    assert names["images"].shape == (16, 8, 8, 1)
    assert np.abs(names["images"]).max() <= 1
    rows = files.read_rows(tmp_path / "scores.jsonl")
    assert "frechet_classifier_distance" in {row["metric"] for row in rows}
    assert (tmp_path / "samples" / "step_00000003.png").exists()
