"""What Keras does to any layer: copies, summaries, masks, states inside."""

import copy
import types

import gradients
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
from sngan_tf.layers import building
from sngan_tf.layers import substitution

SEQUENCES = np.random.default_rng(0).normal(size=(2, 5, 6)).astype("float32")
TOKENS = np.array([[1, 2, 3, 0, 0], [4, 0, 0, 0, 0]])

each_wrapper = pytest.mark.parametrize(
    "wrapper",
    [
        SpectralNormalization,
        SpectralRegularization,
        WeightNormalization,
        FrobeniusNormalization,
    ],
    ids=lambda wrapper: wrapper.__name__,
)


def revived(layer):
    return keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(layer)
    )


@keras.saving.register_keras_serializable("kernel_normalization_test")
class Block(layers.Layer):
    """A custom layer whose config holds the layer in it."""

    def __init__(self, inner, **kwargs):
        super().__init__(**kwargs)
        if isinstance(inner, dict):
            inner = keras.saving.deserialize_keras_object(inner)
        self.inner = inner

    def build(self, shape):
        if not self.inner.built:
            self.inner.build(shape)

    def call(self, inputs):
        return self.inner(inputs)

    def get_config(self):
        inner = keras.saving.serialize_keras_object(self.inner)
        return {**super().get_config(), "inner": inner}


@each_wrapper
@pytest.mark.parametrize(
    "copied",
    [
        revived,
        copy.deepcopy,
        lambda layer: revived(layers.TimeDistributed(layer)).layer,
        lambda layer: revived(Block(layer)).inner,
        lambda layer: keras.models.model_from_json(
            keras.Sequential([layer]).to_json()
        ).layers[0],
    ],
    ids=["serialized", "deepcopy", "time_distributed", "block", "json"],
)
@pytest.mark.one_backend
def test_unbuilt_wrapper_is_copied(wrapper, copied):
    layer = wrapper(layers.Dense(3), name="outer")
    made = copied(layer)
    assert not made.built
    assert made.get_config() == layer.get_config()
    assert made(SEQUENCES).shape == (2, 5, 3)


@each_wrapper
def test_built_wrapper_is_copied_with_its_values(wrapper):
    layer = wrapper(layers.Dense(3))
    layer(SEQUENCES, training=True)
    for variable in layer.variables:
        variable.assign(variable + 0.1)
    made = copy.deepcopy(layer)
    for one, other in zip(made.variables, layer.variables, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(made(SEQUENCES), layer(SEQUENCES))


@pytest.mark.filterwarnings("ignore:.*not yet been built")
def test_unbuilt_model_is_saved(tmp_path):
    model = keras.Sequential([SpectralNormalization(layers.Dense(3))])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded(SEQUENCES).shape == (2, 5, 3)


@pytest.mark.one_backend
def test_attention_is_built_by_its_shapes():
    shapes = {"query_shape": (2, 5, 6), "value_shape": (2, 4, 3)}
    called = SpectralNormalization(layers.MultiHeadAttention(2, 3))
    called(np.zeros((2, 5, 6)), np.zeros((2, 4, 3)))
    for given in (shapes, {**shapes, "key_shape": (2, 4, 7)}):
        layer = SpectralNormalization(layers.MultiHeadAttention(2, 3))
        layer.build(**given)
        expected = [kernel.shape for kernel in called.kernels]
        if "key_shape" in given:
            expected[1] = (7, *expected[1][1:])
        assert [kernel.shape for kernel in layer.kernels] == expected


class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = SpectralNormalization(layers.Dense(3))
        self.conv = SpectralNormalization(layers.Conv1D(7, 3))

    def call(self, inputs):
        return self.conv(self.dense(inputs))


@pytest.mark.one_backend
def test_subclassed_model_has_a_summary(tmp_path):
    model = Subclassed()
    model(SEQUENCES)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(
        tmp_path / "model.keras", custom_objects={"Subclassed": Subclassed}
    )
    for each in (model, loaded):
        lines = []
        each.summary(print_fn=lines.append)
        assert "(2, 5, 3)" in lines[0]
        assert "(2, 3, 7)" in lines[0]


def test_bidirectional_goes_inside():
    layer = SpectralNormalization(layers.LSTM(3))
    with pytest.raises(ValueError, match=r"Normalization\(Bidirectional\("):
        layers.Bidirectional(layer)


def test_time_distributed_hands_its_mask_on():
    gru = layers.GRU(3)
    inputs = np.stack([SEQUENCES] * 2, axis=1)
    mask = np.arange(5) < [[[4]] * 2] * 2
    layer = layers.TimeDistributed(SpectralNormalization(gru))
    np.testing.assert_allclose(
        layer(inputs, mask=mask), layer(inputs[:, :, :4]), rtol=1e-5
    )


def functional(embedding, lstm):
    tokens = keras.Input((5,))
    return keras.Model(tokens, lstm(embedding(tokens)))


@pytest.mark.parametrize(
    "connected",
    [
        functional,
        lambda *parts: keras.Sequential([layers.Input((5,)), *parts]),
        lambda embedding, lstm: functional(
            lambda tokens: embedding(inputs=tokens), lstm
        ),
    ],
    ids=["functional", "sequential", "by_name"],
)
def test_mask_of_an_embedding_reaches_a_plain_layer(connected):
    wrapper = SpectralNormalization(layers.Embedding(8, 4, mask_zero=True))
    model = connected(wrapper, layers.LSTM(3))
    plain = keras.Sequential([layers.Embedding(8, 4, mask_zero=True)])
    plain.add(layers.LSTM(3))
    plain.build((None, 5))
    plain.set_weights(
        [wrapper.normalized_kernel(), *model.layers[-1].get_weights()]
    )
    np.testing.assert_allclose(model(TOKENS), plain(TOKENS), rtol=1e-5)
    mask = wrapper.compute_mask(ops.convert_to_tensor(TOKENS))
    np.testing.assert_array_equal(mask, TOKENS != 0)


def test_stateful_layer_keeps_its_states(function):
    wrapper = SpectralNormalization(layers.LSTM(3, stateful=True))
    wrapper(SEQUENCES)
    plain = sngan_tf.fold(wrapper)
    wrapper.layer.reset_states()
    calls = [function(x) for x in (wrapper, plain)]
    for _ in range(2):
        outputs = [call(SEQUENCES) for call in calls]
        np.testing.assert_allclose(*outputs, rtol=1e-5)
    for state, expected in zip(wrapper.layer.states, plain.states):
        assert np.abs(state).max() > 0.01
        np.testing.assert_allclose(state, expected, rtol=1e-5)


class Measured(layers.Layer):
    """A dense layer with a metric of its outputs' sum."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(3)
        self.total = keras.metrics.Sum()

    def build(self, shape):
        self.dense.build(shape)

    def call(self, inputs):
        outputs = self.dense(inputs)
        self.total.update_state(outputs)
        return outputs


def test_metric_inside_counts(function):
    wrapper = SpectralNormalization(Measured())
    wrapper.build(SEQUENCES.shape)
    call = function(wrapper)
    expected = 2 * np.sum(np.array(wrapper(SEQUENCES)))
    wrapper.layer.total.reset_state()
    call(SEQUENCES)
    call(SEQUENCES)
    total = wrapper.layer.total.result()
    np.testing.assert_allclose(total, expected, rtol=1e-4)


def test_outer_scope_gets_all_that_is_assigned():
    """As training on JAX does; values that it holds are those read."""
    wrapper = SpectralNormalization(Measured())
    total = wrapper.layer.total
    expected = np.sum(np.array(wrapper(SEQUENCES)))
    (variable,) = total.variables
    (u,) = wrapper.non_trainable_variables
    before = np.array(variable), np.array(u)
    u.assign(np.eye(3)[0])
    with keras.StatelessScope(
        [(variable, ops.convert_to_tensor(7.0))]
    ) as outer:
        wrapper(SEQUENCES)
        wrapper(SEQUENCES, training=True)
    assert not np.array_equal(outer.get_current_value(u), np.eye(3)[0])
    np.testing.assert_array_equal(u, np.eye(3)[0])
    np.testing.assert_array_equal(variable, before[0])
    u.assign(np.eye(3)[0])
    total.reset_state()
    expected = sum(
        np.sum(np.array(wrapper(SEQUENCES, training=training)))
        for training in (False, True)
    )
    np.testing.assert_allclose(
        outer.get_current_value(variable), 7 + expected, rtol=1e-4
    )


def test_symbols_for_sizes_are_left_open():
    shape = ("dynamic_dimension", 5, None)  # As JAX and TensorFlow have them.
    tensor = types.SimpleNamespace(shape=shape)
    assert building._shape(tensor) == (None, 5, None)


@pytest.mark.parametrize(
    "wrapper", [SpectralNormalization, WeightNormalization]
)
def test_variables_of_several_kernels_have_paths_of_their_own(wrapper):
    """PyTorch's parameters and Keras's trees of a state go by them."""
    layer = wrapper(layers.GRU(3), learn_scale=True)
    model = keras.Sequential([layers.Input((5, 6)), layer])
    paths = {variable.path for variable in model.variables}
    assert len(paths) == len(model.variables)
    model.compile("sgd")
    tree = model.get_state_tree()["trainable_variables"]
    assert len(keras.tree.flatten(tree)) == len(model.trainable_variables)


@pytest.mark.parametrize("scale", [1e-20, 1e20])
@pytest.mark.parametrize(
    "wrapper", [SpectralNormalization, WeightNormalization]
)
def test_compiled_gradient_is_divided_by_the_scale(wrapper, scale):
    """XLA joins what it can, such as two divisions by sigma to one."""
    layer = wrapper(layers.Dense(3))
    layer.build(SEQUENCES.shape)
    (kernel,) = layer.kernels

    def gradient(compiled):
        return gradients.of(
            lambda: ops.sum(ops.sin(layer(SEQUENCES))), [kernel], compiled
        )[1][0]

    expected = gradient(compiled=False)
    kernel.assign(kernel * scale)
    np.testing.assert_allclose(
        gradient(compiled=True) * scale, expected, rtol=1e-3, atol=1e-5
    )


# Kernels that are given.


@each_wrapper
@pytest.mark.parametrize("training", [False, True])
def test_given_kernel_takes_the_place_of_its_own(wrapper, training):
    """Whatever a call would make of W; and nothing follows W meanwhile."""
    layer = wrapper(layers.Dense(3))
    x = SEQUENCES[:, 0]
    layer(x)
    before = [ops.convert_to_numpy(v) for v in layer.variables]
    kernel = np.random.default_rng(1).normal(size=(6, 3)).astype("float32")
    given = {id(layer.kernels[0]): ops.convert_to_tensor(kernel)}
    with substitution.given(given):
        y = layer(x, training=training)
    np.testing.assert_allclose(y, x @ kernel, rtol=1e-4, atol=1e-5)
    for a, b in zip(before, layer.variables, strict=True):
        np.testing.assert_array_equal(a, ops.convert_to_numpy(b))
    own = layer(x)
    assert np.abs(ops.convert_to_numpy(own) - x @ kernel).max() > 0.1
