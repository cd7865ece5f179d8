"""Graphs, XLA, replicas, stateless calls, copies and saved files."""

import json

import keras
import numpy as np
import pytest
from keras import layers

from sngan_tf import SpectralNormalization

IMAGES = np.random.default_rng(0).normal(size=(4, 5, 5, 3)).astype("float32")
SEQUENCES = np.random.default_rng(0).normal(size=(4, 5, 6)).astype("float32")


def conv(**arguments):
    """A convolution's wrapper with nothing random in it."""
    return SpectralNormalization(
        layers.Conv2D(4, 3, kernel_initializer="ones", name="conv"), **arguments
    )


def reset(layer, seed=1):
    """Gives every variable a random value that depends on `seed` alone."""
    rng = np.random.default_rng(seed)
    for variable in layer.variables:
        variable.assign(rng.normal(size=variable.shape))
    return layer


def loss_of(outputs):
    return keras.ops.sum(keras.ops.sin(outputs))


def u_of(layer):
    (u,) = [v for v in layer.non_trainable_variables if v.name == "u"]
    return u


def wrappers_of(model):
    return [x for x in model.layers if isinstance(x, SpectralNormalization)]


def configs_of(model):
    """The wrappers' configs as JSON has them, tuples made lists."""
    return json.loads(json.dumps([x.get_config() for x in wrappers_of(model)]))


def attention_model():
    queries = keras.Input((5, 6))
    values = SpectralNormalization(
        layers.Dense(7), power_iterations=2, bound=1.5, name="values"
    )(queries)
    outputs = SpectralNormalization(
        layers.MultiHeadAttention(2, 3), learn_scale=True, name="attention"
    )(queries, values)
    return keras.Model(queries, outputs)


@pytest.mark.slow
@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_function_equals_eager(tf, jit_compile, training):
    layer = conv()
    layer(IMAGES)

    def step(images):
        with tf.GradientTape() as tape:
            outputs = layer(images, training=training)
            loss = loss_of(outputs)
        return outputs, *tape.gradient(
            loss, [v.value for v in layer.trainable_variables]
        )

    results = []
    for function in (step, tf.function(step, jit_compile=jit_compile)):
        reset(layer)
        results.append([*function(IMAGES), *function(IMAGES), u_of(layer)])
    for eager, compiled in zip(*results, strict=True):
        np.testing.assert_allclose(compiled, eager, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("training", "assignments"), [(False, 0), (True, 1)])
def test_graph_assigns_nothing_but_u(tf, training, assignments):
    layer = conv()
    function = tf.function(lambda images: layer(images, training=training))
    layer(IMAGES)
    graph = function.get_concrete_function(IMAGES).graph
    assigning = [op for op in graph.get_operations() if "Assign" in op.type]
    assert len(assigning) == assignments


def subclassed(layer):
    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def call(self, inputs):
            return self.layer(inputs)

    return Subclassed()


@pytest.mark.parametrize("graph", [True, False])
def test_layer_built_in_a_graph_knows_sigma(tf, graph):
    """The start of u needs the kernel, which has no value there yet."""
    layer = SpectralNormalization(layers.Dense(8), learn_scale=True)
    build = tf.function if graph else subclassed
    build(layer)(SEQUENCES)
    truth = np.linalg.norm(np.array(layer.kernels[0], "float64"), 2)
    np.testing.assert_allclose(layer.spectral_norm(), truth, rtol=0.05)
    np.testing.assert_allclose(
        layer(SEQUENCES), layer.layer(SEQUENCES), rtol=1e-4, atol=1e-5
    )


def test_two_replicas_match_one(tf, two_replicas):
    """Two SGD steps on halves of a batch, and on the whole one."""

    def build():
        layer = conv()
        optimizer = keras.optimizers.SGD(0.01)
        layer.build(IMAGES.shape)
        optimizer.build(layer.trainable_variables)
        return reset(layer), optimizer

    def step(layer, optimizer, images):
        with tf.GradientTape() as tape:
            loss = loss_of(layer(images, training=True))
        gradients = tape.gradient(
            loss, [v.value for v in layer.trainable_variables]
        )
        optimizer.apply(gradients, layer.trainable_variables)
        return loss

    one, optimizer = build()
    losses = [step(one, optimizer, IMAGES) for _ in range(2)]

    with two_replicas.scope():
        two, optimizer = build()
    halves = two_replicas.experimental_distribute_values_from_function(
        lambda context: tf.constant(
            np.split(IMAGES, 2)[context.replica_id_in_sync_group]
        )
    )

    @tf.function
    def distributed_step():
        loss = two_replicas.run(step, args=(two, optimizer, halves))
        return two_replicas.reduce("SUM", loss, axis=None)

    np.testing.assert_allclose(
        [distributed_step() for _ in range(2)], losses, rtol=1e-4
    )
    for variable, expected in zip(two.variables, one.variables, strict=True):
        first, second = two_replicas.experimental_local_results(variable.value)
        np.testing.assert_array_equal(first, second)
        np.testing.assert_allclose(first, expected, rtol=1e-4, atol=1e-5)


def test_first_replica_decides_u(two_replicas):
    """Replicas that ever drifted apart agree after one training call."""
    with two_replicas.scope():
        layer = conv()
        layer.build(IMAGES.shape)
    reset(layer)
    copies = two_replicas.experimental_local_results(u_of(layer).value)
    copies[1].assign([1.0, 0.0, 0.0, 0.0])
    before = np.array(copies[0])
    two_replicas.run(lambda: layer(IMAGES, training=True))
    np.testing.assert_array_equal(*copies)
    assert np.abs(copies[0] - before).max() > 1e-4


@pytest.mark.parametrize("training", [False, True])
def test_stateless_call_returns_the_state_and_keeps_the_variables(training):
    layer = SpectralNormalization(
        keras.Sequential([layers.Dense(4), layers.BatchNormalization()])
    )
    layer(SEQUENCES)
    before = [np.array(variable) for variable in layer.variables]
    outputs, state = layer.stateless_call(
        layer.trainable_variables,
        layer.non_trainable_variables,
        SEQUENCES,
        training=training,
    )
    for variable, value in zip(layer.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    expected = layer(SEQUENCES, training=training)
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)
    for variable, value in zip(
        layer.non_trainable_variables, state, strict=True
    ):
        np.testing.assert_allclose(value, variable, rtol=1e-5, atol=1e-6)


def test_stateless_call_uses_the_values_given():
    layer = conv()
    layer(IMAGES)
    expected = np.array(layer(IMAGES))
    state = [np.array(v) for v in layer.non_trainable_variables]
    trainable = [np.array(v) for v in layer.trainable_variables]
    reset(layer)
    outputs, _ = layer.stateless_call(trainable, state, IMAGES)
    np.testing.assert_allclose(outputs, expected, rtol=1e-5)


def test_clone_has_the_same_arguments_and_other_variables():
    model = attention_model()
    clone = keras.models.clone_model(model)
    assert configs_of(clone) == configs_of(model)
    assert not np.allclose(clone(SEQUENCES), model(SEQUENCES), atol=1e-2)
    clone.set_weights(model.get_weights())
    np.testing.assert_allclose(clone(SEQUENCES), model(SEQUENCES), rtol=1e-5)


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (attention_model, SEQUENCES),
        (
            lambda: keras.Sequential(
                [
                    conv(bound=2.0, power_iterations=3),
                    SpectralNormalization(layers.SeparableConv2D(3, 2)),
                ]
            ),
            IMAGES,
        ),
        (
            lambda: keras.Sequential(
                [SpectralNormalization(layers.Bidirectional(layers.GRU(3)))]
            ),
            SEQUENCES,
        ),
    ],
    ids=["attention", "convolutions", "recurrent"],
)
def test_saved_file_gives_the_same_model(model, inputs, tmp_path):
    model = model()
    model(inputs, training=True)
    reset(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert configs_of(loaded) == configs_of(model)
    np.testing.assert_array_equal(loaded(inputs), model(inputs))
    for ours, theirs in zip(wrappers_of(model), wrappers_of(loaded)):
        np.testing.assert_array_equal(
            theirs.spectral_norm(), ours.spectral_norm()
        )
    # The whole state: the next training calls agree too.
    np.testing.assert_array_equal(
        loaded(inputs, training=True), model(inputs, training=True)
    )
    np.testing.assert_array_equal(loaded(inputs), model(inputs))


def test_fit_trains_through_the_wrapper():
    model = keras.Sequential([conv(), layers.GlobalAveragePooling2D()])
    model.compile(optimizer="sgd", loss="mse")
    model.build(IMAGES.shape)
    reset(model)
    before = [np.array(v) for v in model.variables]
    model.fit(IMAGES, np.ones((4, 4)), verbose=0)
    for variable, value in zip(model.variables, before, strict=True):
        assert np.abs(variable - value).max() > 1e-5
