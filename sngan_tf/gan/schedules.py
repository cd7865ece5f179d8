"""Learning rates over a run."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("sngan_tf")
class LinearDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Constant, then linear to 0, counted in generator updates.

    Args:
        learning_rate: The rate until `decay_from`.
        decay_from: Generator update from which it falls.
        updates: Generator update at which it would be 0.
        steps_per_update: Steps of the optimizer per generator update: n_dis
            for the discriminator's.

    Raises:
        ValueError: Unless `0 <= decay_from < updates` and
            `steps_per_update` is positive.
    """

    def __init__(
        self,
        learning_rate: float,
        decay_from: int,
        updates: int,
        steps_per_update: int = 1,
    ):
        if not 0 <= decay_from < updates:
            raise ValueError(
                "`decay_from` must be in [0, updates). Received: "
                f"decay_from={decay_from}, updates={updates}"
            )
        if steps_per_update < 1:
            raise ValueError(
                "`steps_per_update` must be positive. Received: "
                f"steps_per_update={steps_per_update}"
            )
        self.learning_rate = learning_rate
        self.decay_from = decay_from
        self.updates = updates
        self.steps_per_update = steps_per_update

    def __call__(self, step):
        update = ops.cast(step // self.steps_per_update, "float32")
        left = (self.updates - update) / (self.updates - self.decay_from)
        return self.learning_rate * ops.clip(left, 0.0, 1.0)

    def get_config(self):
        return {
            "learning_rate": self.learning_rate,
            "decay_from": self.decay_from,
            "updates": self.updates,
            "steps_per_update": self.steps_per_update,
        }
