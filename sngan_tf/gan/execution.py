"""How updates run on TensorFlow, by one replica or many."""

import keras
import tensorflow as tf


@tf.autograph.experimental.do_not_convert
def train_function(gan):
    """Returns what `fit` calls: an execution of one or more updates.

    Keras's own reduces the logs over an axis that scalars don't have, on
    several hosts (keras-team/keras#20585); here they are the same on all
    replicas already.

    Args:
        gan: A compiled `GAN`.
    """
    strategy = gan.distribute_strategy

    @tf.autograph.experimental.do_not_convert
    def update(data):
        logs = strategy.run(gan.train_step, args=(data,))
        return tf.nest.map_structure(
            lambda log: strategy.experimental_local_results(log)[0], logs
        )

    if not gan.run_eagerly:
        update = tf.function(update, jit_compile=gan.jit_compile)

    @tf.autograph.experimental.do_not_convert
    def execution(iterator):
        if gan.steps_per_execution == 1:
            return update(iterator.get_next())
        per_execution = tf.constant(gan.steps_per_execution, tf.int64)
        count = per_execution - gan.step.value % per_execution
        _, logs = tf.while_loop(
            lambda done, logs: done < count,
            lambda done, logs: (done + 1, update(iterator.get_next())),
            (tf.ones((), tf.int64), update(iterator.get_next())),
        )
        return logs

    return execution if gan.run_eagerly else tf.function(execution)


class Mean(keras.metrics.Metric):
    """Mean over updates of values that are the same on all replicas.

    Of `keras.metrics.Mean` each replica holds a part, which all hosts would
    have to save together.
    """

    def __init__(self, name):
        super().__init__(name=name)
        self.total = self._variable("total")
        self.count = self._variable("count")

    def update_state(self, value):
        self.total.assign_add(value)
        self.count.assign_add(1.0)

    def result(self):
        return tf.math.divide_no_nan(self.total.value, self.count.value)

    def _variable(self, name):
        return keras.Variable(
            0.0,
            dtype="float32",
            trainable=False,
            aggregation="only_first_replica",
            name=name,
        )


def mean_over_replicas(values):
    """Returns a replica's dict of scalars as the means over all replicas."""
    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.MEAN, values)


def scaled(loss, optimizer):
    """Returns what a replica minimises so that all together minimise a mean.

    The optimizers sum gradients over replicas.
    """
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    return optimizer.scale_loss(loss / replicas)


def apply(optimizer, tape, loss, variables):
    """Updates the variables by the gradients of a `scaled` loss."""
    gradients = tape.gradient(loss, variables)
    context = tf.distribute.get_replica_context()
    if (
        isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        and context.num_replicas_in_sync > 1
    ):
        # Each replica decides on its own gradients whether to skip an update,
        # so an overflow on one is made one on all.
        finite = [tf.reduce_all(tf.math.is_finite(g)) for g in gradients]
        overflow = context.all_reduce(
            tf.distribute.ReduceOp.SUM,
            tf.where(tf.reduce_all(finite), 0.0, float("nan")),
        )
        gradients = [g + tf.cast(overflow, g.dtype) for g in gradients]
    optimizer.apply_gradients(zip(gradients, variables))
