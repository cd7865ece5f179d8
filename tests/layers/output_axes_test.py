"""Kernels of custom layers, which the wrapper is told."""

import json

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

import sngan_tf
from sngan_tf import SpectralNormalization
from sngan_tf.layers import FrobeniusNormalization
from sngan_tf.layers import SpectralRegularization
from sngan_tf.layers import WeightNormalization
from sngan_tf.layers import spectral_norms

INPUTS = np.random.default_rng(0).normal(size=(2, 3, 5)).astype("float32")


@keras.saving.register_keras_serializable("output_axes_test")
class Bilinear(layers.Layer):
    """Outputs along the middle axis of one variable, and the first of another.

    Its `kernel` is none in the sense of Keras: it is left alone.
    """

    def build(self, shape):
        self.weight = self.add_weight(name="weight", shape=(3, 4, 5))
        self.mixing = self.add_weight(name="mixing", shape=(2, 6, 4))
        self.kernel = self.add_weight(name="kernel", shape=(2, 6))

    def call(self, inputs):
        outputs = ops.einsum("bij,ioj->bo", inputs, self.weight)
        outputs = ops.einsum("bo,pqo->bpq", outputs, self.mixing)
        return outputs + self.kernel


AXES = {"weight": 1, "mixing": (0, -2)}


def matrices(layer):
    return (
        np.transpose(layer.weight, (1, 0, 2)).reshape(4, 15),
        np.array(layer.mixing).reshape(12, 4),
    )


def built(wrapper=SpectralNormalization, **kwargs):
    layer = wrapper(Bilinear(), output_axes=AXES, **kwargs)
    layer(INPUTS)
    return layer


def test_named_axes_count_the_outputs():
    layer = built()
    assert [v.name for v in layer.kernels] == ["weight", "mixing"]
    norms = [np.linalg.svd(m)[1][0] for m in matrices(layer.layer)]
    assert [float(n) for n in layer.spectral_norm()] == pytest.approx(
        norms, rel=1e-4
    )
    weight, mixing = layer.normalized_kernels()
    expected = np.einsum("bij,ioj->bo", INPUTS, weight)
    expected = np.einsum("bo,pqo->bpq", expected, mixing)
    np.testing.assert_allclose(
        layer(INPUTS), expected + layer.layer.kernel, rtol=1e-4, atol=1e-5
    )
    found = spectral_norms(layer)
    assert [name.partition("/")[2] for name in found] == ["weight", "mixing"]
    assert [*found.values()] == pytest.approx([1.0, 1.0], rel=1e-4)


def test_every_normalization_takes_them():
    rows = built(WeightNormalization).normalized_kernels()[0]
    np.testing.assert_allclose(
        np.square(rows).sum(axis=(0, 2)), np.ones(4), rtol=1e-5
    )
    whole = built(FrobeniusNormalization).normalized_kernels()[1]
    assert np.square(whole).sum() == pytest.approx(1.0)
    layer = built(SpectralRegularization, coefficient=2.0)
    layer(INPUTS, training=True)
    norms = [np.linalg.svd(m)[1][0] for m in matrices(layer.layer)]
    assert float(sum(layer.losses)) == pytest.approx(
        np.square(norms).sum(), rel=1e-3
    )


@pytest.mark.parametrize(
    "wrapper",
    [
        SpectralNormalization,
        SpectralRegularization,
        WeightNormalization,
        FrobeniusNormalization,
    ],
)
def test_axes_survive_a_file(wrapper, tmp_path):
    layer = built(wrapper)
    assert json.loads(json.dumps(layer.get_config()["output_axes"])) == {
        "weight": [1],
        "mixing": [0, -2],
    }
    model = keras.Sequential([layers.Input(INPUTS.shape[1:]), layer])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.layers[0].output_axes == {"weight": (1,), "mixing": (0, -2)}
    np.testing.assert_array_equal(loaded(INPUTS), model(INPUTS))
    folded = sngan_tf.fold(loaded)
    np.testing.assert_allclose(folded(INPUTS), model(INPUTS), rtol=1e-4)


def test_model_with_custom_layers_is_wrapped():
    model = keras.Sequential(
        [layers.Input(INPUTS.shape[1:]), Bilinear(), layers.Dense(3)]
    )
    wrapped = sngan_tf.wrap(model, output_axes=AXES)
    bilinear, dense = wrapped.layers
    assert isinstance(bilinear, SpectralNormalization)
    assert isinstance(dense, layers.Dense)
    for kernel, matrix in zip(
        bilinear.normalized_kernels(), matrices(model.layers[0])
    ):
        norm = np.linalg.svd(matrix)[1][0]
        assert np.square(kernel).sum() == pytest.approx(
            np.square(matrix / norm).sum(), rel=1e-3
        )


@pytest.mark.parametrize(
    "output_axes",
    [{}, [1], {"weight": ()}, {"weight": 1.5}, {"weight": None}, {3: 1}, "x"],
)
def test_what_are_no_axes_is_named(output_axes):
    with pytest.raises(ValueError, match="`output_axes` must be a dict"):
        SpectralNormalization(Bilinear(), output_axes=output_axes)


@pytest.mark.parametrize("axes", [3, -4, (0, 0), (0, -3)])
def test_axes_that_the_kernel_lacks_are_named(axes):
    layer = SpectralNormalization(Bilinear(), output_axes={"weight": axes})
    with pytest.raises(ValueError, match=r"different axes .*\(3, 4, 5\)"):
        layer(INPUTS)


def test_attribute_that_is_no_kernel_is_named():
    layer = SpectralNormalization(Bilinear(), output_axes={"kernels": 0})
    with pytest.raises(ValueError, match=r"among \['kernels'\].*'mixing'"):
        layer(INPUTS)
