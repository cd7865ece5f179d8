import keras
import numpy as np
import pytest
import tensorflow as tf

from sngan_tf.gan import adam

SHAPES = ((3, 4), (2,))


def trained(optimizer, gradients, compiled=True, dtype="float32"):
    """Returns all values after a step for each of the gradients."""
    variables = [keras.Variable(np.ones(s), dtype=dtype) for s in SHAPES]
    optimizer.build(variables)

    def step(*grads):
        optimizer.apply(list(grads), variables)

    step = tf.function(step) if compiled else step
    for grads in gradients:
        step(*grads)
    return [np.array(v) for v in [*variables, *optimizer.variables]]


def gradients(count=8):
    random = np.random.default_rng(0)
    return [
        [tf.constant(random.normal(size=s), tf.float32) for s in SHAPES]
        for _ in range(count)
    ]


@pytest.mark.parametrize("betas", [(0.0, 0.9), (0.5, 0.999)])
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    "learning_rate",
    [1e-2, keras.optimizers.schedules.ExponentialDecay(1e-2, 3, 0.5)],
)
def test_values_are_those_of_keras(betas, compiled, learning_rate):
    expected = trained(
        keras.optimizers.Adam(learning_rate, *betas), gradients(), compiled
    )
    found = trained(adam.Adam(learning_rate, *betas), gradients(), compiled)
    # TensorFlow takes 1 - beta_2 in float32, where 0.999 is off by 1e-8.
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-7)


def test_values_are_those_of_the_paper_in_float64():
    """Kingma & Ba 2015, Algorithm 1, epsilon at the end of section 2."""
    rate, beta_1, beta_2, epsilon = 1e-2, 0.5, 0.9, 1e-3
    w = np.ones(SHAPES[0])
    m = v = np.zeros(SHAPES[0])
    for t, (gradient, _) in enumerate(gradients(), start=1):
        g = gradient.numpy().astype(np.float64)
        m, v = beta_1 * m + (1 - beta_1) * g, beta_2 * v + (1 - beta_2) * g**2
        alpha = rate * np.sqrt(1 - beta_2**t) / (1 - beta_1**t)
        w = w - alpha * m / (np.sqrt(v) + epsilon)
    found = trained(adam.Adam(rate, beta_1, beta_2, epsilon), gradients())
    np.testing.assert_allclose(found[0], w, rtol=1e-6)


def test_options_of_keras_go_on_working():
    options = {"clipnorm": 0.1, "weight_decay": 0.01, "use_ema": True}
    expected = trained(keras.optimizers.Adam(1e-2, **options), gradients())
    found = trained(adam.Adam(1e-2, **options), gradients())
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-7)


def test_rows_of_an_embedding_may_be_given_alone():
    rows = tf.IndexedSlices(tf.ones((2, 4)), tf.constant([0, 2]), [3, 4])
    whole = tf.convert_to_tensor(rows)
    other = tf.ones((2,))
    alone = trained(adam.Adam(1e-2), [[rows, other]], compiled=False)
    together = trained(adam.Adam(1e-2), [[whole, other]], compiled=False)
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a, b)


def test_overflow_skips_a_step_of_scaled_losses():
    optimizer = keras.optimizers.LossScaleOptimizer(adam.Adam(1e-2))
    infinite = [[tf.fill(s, np.inf) for s in SHAPES]]
    for value in trained(optimizer, infinite)[: len(SHAPES)]:
        np.testing.assert_array_equal(value, 1)


def test_replicas_sum_their_gradients(two_replicas):
    with two_replicas.scope():
        variable = keras.Variable(np.ones(3), dtype="float32")
        optimizer = adam.Adam(1e-2, 0.5)
        optimizer.build([variable])

    @tf.function
    def step():
        two_replicas.run(
            lambda: optimizer.apply([tf.constant([0.1, 0.2, -0.3])], [variable])
        )

    step()
    moment = optimizer._momentums[0]
    np.testing.assert_allclose(moment, [0.1, 0.2, -0.3], rtol=1e-6)
    copies = two_replicas.experimental_local_results(variable.value)
    np.testing.assert_array_equal(*copies)


def test_state_is_that_of_keras():
    ours, theirs = adam.Adam(1e-3), keras.optimizers.Adam(1e-3)
    for optimizer in (ours, theirs):
        optimizer.build([keras.Variable(np.ones(3), name="w")])
    assert [v.name for v in ours.variables] == [
        v.name for v in theirs.variables
    ]


def test_is_kept_by_its_config():
    optimizer = adam.Adam(1e-3, 0.1, 0.2, 0.3)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert isinstance(again, adam.Adam)
    assert again.get_config() == optimizer.get_config()


def test_amsgrad_is_refused():
    with pytest.raises(ValueError, match="`amsgrad` must be False"):
        adam.Adam(amsgrad=True)
