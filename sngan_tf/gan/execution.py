"""How steps run on TensorFlow, by one replica or many."""

import keras
import tensorflow as tf


@tf.autograph.experimental.do_not_convert
def function(gan, step, count):
    """Returns what `fit` or `evaluate` calls: an execution of some steps.

    Keras's own reduces the logs over an axis that scalars don't have, on
    several hosts (keras-team/keras#20585); here they are the same on all
    replicas already.

    Args:
        gan: A compiled `GAN`.
        step: Its `train_step` or `test_step`.
        count: Function to the number of steps of the next execution, an int64
            tensor.
    """
    strategy = gan.distribute_strategy

    @tf.autograph.experimental.do_not_convert
    def of_batch(data):
        logs = strategy.run(step, args=(data,))
        return tf.nest.map_structure(
            lambda log: strategy.experimental_local_results(log)[0], logs
        )

    if not gan.run_eagerly:
        of_batch = tf.function(of_batch, jit_compile=gan.jit_compile)

    def one(iterator):
        data = iterator.get_next()
        # Some of a step needs no data, and would be done where there is none.
        with _after(data):
            return of_batch(data)

    def one_more(done, iterator):
        logs = one(iterator)
        # Nor may the end of the data break off the step before it.
        with _after(logs):
            return done + 1, logs

    @tf.autograph.experimental.do_not_convert
    def execution(iterator):
        if gan.steps_per_execution == 1:
            return one(iterator)
        steps = count()
        _, logs = tf.while_loop(
            lambda done, logs: done < steps,
            lambda done, logs: one_more(done, iterator),
            one_more(tf.zeros((), tf.int64), iterator),
        )
        return logs

    if not gan.run_eagerly:
        execution = tf.function(execution)

    @tf.autograph.experimental.do_not_convert
    def execute(iterator):
        if not isinstance(
            iterator, (tf.data.Iterator, tf.distribute.DistributedIterator)
        ):
            return of_batch(next(iterator))  # Of `train_on_batch`.
        begun = tf.identity(gan.metrics[0].count.value)
        try:
            return execution(iterator)
        except tf.errors.OutOfRangeError:
            if gan.metrics[0].count.value == begun:
                raise
            return {metric.name: metric.result() for metric in gan.metrics}

    return execute


def _after(tensors):
    return tf.control_dependencies(
        tf.nest.flatten(tensors, expand_composites=True)
    )


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


def scaling(optimizer):
    """Returns an optimizer that scales its loss, for float16."""
    kind = keras.optimizers.LossScaleOptimizer
    return optimizer if isinstance(optimizer, kind) else kind(optimizer)


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
