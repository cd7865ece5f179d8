"""A wrapped layer keeps the kernel that its wrapper normalises."""

import keras
import numpy as np
import pytest
from keras import layers

import sngan_tf
from sngan_tf import SpectralNormalization

pytestmark = [
    pytest.mark.one_backend,
    # Layers without anything to quantize are of no concern here.
    pytest.mark.filterwarnings("ignore:Layer .*does not have a"),
]
VECTORS = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")
IMAGES = np.random.default_rng(0).normal(size=(2, 5, 5, 3)).astype("float32")


def model_of(**arguments):
    return keras.Sequential(
        [
            layers.Input((6,)),
            layers.Dense(5, name="plain"),
            SpectralNormalization(
                layers.Dense(4, name="inner"), name="outer", **arguments
            ),
            layers.ReLU(),
        ]
    )


def test_quantization_leaves_the_wrapped_layer_as_it_is():
    model = model_of()
    model.layers[1].kernels[0].assign(
        9 * np.random.default_rng(1).normal(size=(5, 4))
    )
    model.layers[1].settle()
    before = np.array(model(VECTORS))
    with pytest.warns(UserWarning, match="'inner' .*normalised.*`fold`"):
        model.quantize("int8")
    np.testing.assert_allclose(model(VECTORS), before, atol=0.05)
    assert model.layers[0].quantization_mode == "int8"
    np.testing.assert_allclose(
        np.linalg.norm(model.layers[1].normalized_kernel(), 2), 1, rtol=0.05
    )


def test_folded_model_is_quantized():
    model = model_of(bound=2.0)
    folded = sngan_tf.fold(model)
    folded.quantize("int8")
    np.testing.assert_allclose(folded(VECTORS), model(VECTORS), atol=0.1)
    assert folded.get_layer("outer").quantization_mode == "int8"


@pytest.mark.parametrize("verb", ["quantize", "enable_lora"])
@pytest.mark.parametrize(
    ("layer", "inputs", "part"),
    [
        (layers.Dense(4, name="own"), [VECTORS], lambda layer: layer),
        (layers.Conv2D(4, 3, name="own"), [IMAGES], lambda layer: layer),
        (
            layers.MultiHeadAttention(2, 3),
            [IMAGES[0], IMAGES[0]],
            lambda layer: layer.query_dense,
        ),
    ],
    ids=["dense", "conv", "attention"],
)
def test_wrapped_layer_refuses(layer, inputs, part, verb):
    wrapper = SpectralNormalization(type(layer).from_config(layer.get_config()))
    wrapper(*inputs)
    part = part(wrapper.layer)
    argument = "int8" if verb == "quantize" else 2
    before = np.array(wrapper(*inputs))
    message = f"'{part.name}' are normalised .*`fold`"
    with pytest.raises(NotImplementedError, match=message):
        getattr(part, verb)(argument)
    np.testing.assert_array_equal(wrapper(*inputs), before)


def with_lora():
    layer = layers.Dense(4, name="own")
    layer.build((None, 6))
    layer.enable_lora(2)
    return layer


@pytest.mark.parametrize(
    "layer",
    [
        with_lora(),
        layers.Dense(4, lora_rank=2, name="own"),
        layers.Dense(4, dtype="int8_from_float32", name="own"),
        keras.Sequential([layers.Embedding(5, 4, lora_rank=2, name="own")]),
    ],
    ids=["lora", "lora_to_be", "quantized", "inside"],
)
def test_layer_with_more_than_a_kernel_is_not_wrapped(layer):
    message = "neither quantized nor given LoRA.*`fold`.*layer=own"
    with pytest.raises(ValueError, match=message):
        SpectralNormalization(layer)


def test_model_with_lora_is_not_wrapped_in_part():
    model = keras.Sequential(
        [layers.Input((6,)), layers.Dense(5), layers.Dense(4, name="own")]
    )
    model.layers[1].enable_lora(2)
    with pytest.raises(ValueError, match="LoRA.*layer=own"):
        sngan_tf.wrap(model)
    assert sngan_tf.wrap(model, layers="dense")(VECTORS).shape == (4, 4)
