"""Adam in one operation a variable."""

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("sngan_tf")
class Adam(keras.optimizers.Adam):
    """`keras.optimizers.Adam`, by TensorFlow's own operation.

    The same formula, state and arguments: Keras runs some ten small operations
    for each variable, which for small networks take longer than the sums.

    Args:
        learning_rate: Float, or a schedule of `keras.optimizers.schedules`.
        beta_1: Decay of the mean of gradients, in [0, 1).
        beta_2: Decay of the mean of their squares, in [0, 1).
        epsilon: Added to the root of the latter.
        **kwargs: Of `keras.optimizers.Adam`, without `amsgrad`.

    Raises:
        ValueError: On `amsgrad`.
    """

    def __init__(
        self,
        learning_rate: float
        | keras.optimizers.schedules.LearningRateSchedule = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **kwargs: Any,
    ):
        if kwargs.get("amsgrad"):
            raise ValueError(
                "`amsgrad` must be False; keras.optimizers.Adam has it. "
                "Received: amsgrad=True"
            )
        super().__init__(learning_rate, beta_1, beta_2, epsilon, **kwargs)
        self._shared = None

    def apply(self, grads, trainable_variables=None):
        # Once for all variables.
        step = tf.cast(self.iterations.value, tf.float32) + 1.0
        beta_1, beta_2 = tf.constant(self.beta_1), tf.constant(self.beta_2)
        self._shared = {
            "beta1_power": beta_1**step,
            "beta2_power": beta_2**step,
            "lr": tf.convert_to_tensor(self.learning_rate),
            "beta1": beta_1,
            "beta2": beta_2,
            "epsilon": tf.constant(self.epsilon),
        }
        super().apply(grads, trainable_variables)
        self._shared = None

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            **{
                name: tf.cast(value, variable.dtype)
                for name, value in self._shared.items()
            },
            grad=tf.cast(tf.convert_to_tensor(gradient), variable.dtype),
        )
