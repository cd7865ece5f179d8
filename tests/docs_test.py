import pathlib
import re

import keras
import pytest

DOCS = pathlib.Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
LAYER = BLOCK.findall((DOCS / "layer.md").read_text())


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
    if "Bilinear" in names:
        layer = names["layer"]
        assert layer(keras.ops.ones((2, 3))).shape == (2, 8, 4)
        (u,) = (v for v in layer.variables if v.name == "u")
        assert u.shape == (8,)
