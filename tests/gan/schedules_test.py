import json

import keras
import numpy as np
import pytest

from sngan_tf.gan.schedules import LinearDecay

ARGUMENTS = {
    "learning_rate": 0.2,
    "decay_from": 60,
    "updates": 100,
    "steps_per_update": 5,
}


def at(schedule, step):
    return float(schedule(keras.ops.convert_to_tensor(step, dtype="int64")))


@pytest.mark.parametrize("steps_per_update", [1, 5])
@pytest.mark.parametrize(
    ("update", "rate"),
    [
        (0, 0.2),
        (59, 0.2),
        (60, 0.2),
        (61, 0.195),
        (80, 0.1),
        (99, 0.005),
        (100, 0.0),
        (500, 0.0),
    ],
)
def test_constant_then_linear_to_zero(update, rate, steps_per_update):
    schedule = LinearDecay(0.2, 60, 100, steps_per_update)
    # All steps of the optimizer in one update have its rate.
    for step in range(steps_per_update):
        np.testing.assert_allclose(
            at(schedule, steps_per_update * update + step),
            rate,
            rtol=1e-5,
            atol=1e-8,
        )


def test_decay_from_the_first_update():
    schedule = LinearDecay(1.0, 0, 4)
    rates = [at(schedule, step) for step in range(5)]
    np.testing.assert_allclose(rates, [1, 0.75, 0.5, 0.25, 0], rtol=1e-6)


@pytest.mark.parametrize(
    ("decay_from", "updates"), [(-1, 10), (10, 10), (11, 10), (0, 0)]
)
def test_decay_outside_the_run_is_refused(decay_from, updates):
    with pytest.raises(
        ValueError, match=f"decay_from={decay_from}, updates={updates}"
    ):
        LinearDecay(0.1, decay_from, updates)


def test_config_survives_json():
    serialized = json.loads(
        json.dumps(
            keras.saving.serialize_keras_object(LinearDecay(**ARGUMENTS))
        )
    )
    copy = keras.saving.deserialize_keras_object(serialized)
    assert copy.get_config() == ARGUMENTS
    assert at(copy, 5 * 80) == at(LinearDecay(**ARGUMENTS), 5 * 80)


@pytest.mark.parametrize("restored", [False, True])
def test_adam_moves_by_the_rate(restored):
    """With gradients of one sign, Adam moves by the rate in each step."""
    optimizer = keras.optimizers.Adam(LinearDecay(0.1, 2, 4, 2), beta_1=0.0)
    if restored:
        optimizer = keras.optimizers.Adam.from_config(optimizer.get_config())
    variable = keras.Variable(0.0)
    moves = []
    for _ in range(10):
        before = float(variable)
        optimizer.apply([keras.ops.ones(())], [variable])
        moves.append(before - float(variable))
    rates = [0.1] * 6 + [0.05] * 2 + [0.0] * 2
    np.testing.assert_allclose(moves, rates, rtol=1e-4, atol=1e-7)
