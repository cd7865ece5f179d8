"""How steps run on TensorFlow, by one replica or many."""

import contextlib

import keras
import tensorflow as tf

from sngan_tf.gan import checks


@tf.autograph.experimental.do_not_convert
def train_function(gan):
    """Returns what `fit` calls: an execution of one or more updates.

    None waits for the one before, as nothing of it is read on the host.

    Args:
        gan: A compiled `GAN`.
    """
    update = _of_batch(gan, gan.train_step)

    @tf.autograph.experimental.do_not_convert
    def several(iterator):
        per_execution = tf.constant(gan.steps_per_execution, tf.int64)
        count = per_execution - gan.step.value % per_execution

        def one_more(done, more, logs):
            data = _next_as_optional(iterator)
            more = data.has_value()
            logs = tf.cond(more, lambda: update(data.get_value()), lambda: logs)
            return done + tf.cast(more, tf.int64), more, logs

        done, _, logs = tf.while_loop(
            lambda done, more, logs: more & (done < count),
            one_more,
            (
                tf.zeros((), tf.int64),
                tf.constant(True),
                {metric.name: metric.result() for metric in gan.metrics},
            ),
        )
        # Where no batch was left, to ask for one ends the epoch.
        tf.cond(done > 0, lambda: done, lambda: _asked_for(iterator, done))
        return logs

    if not gan.run_eagerly:
        several = tf.function(several)

    def execution(iterator):
        logs = None
        by_itself = gan.steps_per_execution == 1 or not _is_iterator(iterator)
        if by_itself or gan.unseen:
            # Fetched first: much of an update needs no data, and in one graph
            # would be done even where there is no more.
            logs = update(_looked_at(gan, next(iterator)))
            if by_itself or gan.step.value % gan.steps_per_execution == 0:
                return logs
        try:
            return several(iterator)
        except tf.errors.OutOfRangeError:
            if logs is None:
                raise
            return logs

    return lambda iterator: _for_keras(gan, execution(iterator))


def test_function(gan):
    """Returns what `evaluate` calls, as `train_function`."""
    test = _of_batch(gan, gan.test_step)

    def execution(iterator):
        logs = test(_looked_at(gan, next(iterator)))
        for _ in range(gan.steps_per_execution - 1):
            if (data := next(iterator, None)) is None:
                break
            logs = test(data)
        return logs

    return execution


class Unread(dict):
    """Logs of an execution that Keras keeps and hands to no callback.

    Of those that are true it reads each number, for every callback.
    """

    def __bool__(self):
        return False


def _for_keras(gan, logs):
    return logs if gan.logs_are_read else Unread(logs)


def _of_batch(gan, step):
    """Returns a function of a batch, of all replicas, to a step's logs.

    Keras's own reduces the logs over an axis that scalars don't have, on
    several hosts (keras-team/keras#20585); here they are the same on all
    replicas already.
    """
    strategy = gan.distribute_strategy

    @tf.autograph.experimental.do_not_convert
    def of_batch(data):
        logs = strategy.run(step, args=(data,))
        return tf.nest.map_structure(
            lambda log: strategy.experimental_local_results(log)[0], logs
        )

    if gan.run_eagerly:
        return of_batch
    return tf.function(of_batch, jit_compile=gan.jit_compile)


def _looked_at(gan, data):
    """Returns a batch of all replicas, checked; its values only if unseen."""
    if gan.unseen or gan.distribute_strategy.num_replicas_in_sync > 1:
        shares = _shares(gan, data)
        counts = [len(tf.nest.flatten(share)[0]) for share in shares]
        if len({*counts}) > 1:
            raise ValueError(
                "The images of a batch must be divisible by the number of "
                f"replicas. Received: {' and '.join(map(str, counts))} images"
            )
        if gan.unseen:
            gan.unseen = False
            for share in shares:
                checks.values(*gan.batch(share), gan.num_classes)
    return data


def _shares(gan, data):
    """Returns what each replica here has of a batch."""
    local = gan.distribute_strategy.experimental_local_results
    flat = [local(x) for x in tf.nest.flatten(data)]
    return [tf.nest.pack_sequence_as(data, share) for share in zip(*flat)]


def _is_iterator(data):
    """Returns whether data are TensorFlow's, not a single batch of Keras."""
    kinds = (tf.data.Iterator, tf.distribute.DistributedIterator)
    return isinstance(data, kinds)


def _asked_for(iterator, value):
    """Returns the value once the iterator had another batch."""
    with tf.control_dependencies(tf.nest.flatten(iterator.get_next())):
        return tf.identity(value)


def _next_as_optional(iterator):
    if isinstance(iterator, tf.data.Iterator):
        return iterator.get_next_as_optional()
    # Of several replicas this is cheaper, and keeps static shapes.
    return tf.experimental.Optional.from_value(iterator.get_next())


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


@contextlib.contextmanager
def tape_of(network):
    """A gradient tape of the trainable variables of one network alone."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        for variable in network.trainable_variables:
            tape.watch(variable.value)
        yield tape


def scaled(loss, optimizer):
    """Returns what a replica minimises so that all together minimise a mean.

    The optimizers sum gradients over replicas.
    """
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    return optimizer.scale_loss(loss / replicas)


def apply(optimizer, tape, loss, variables):
    """Updates the variables by the gradients of a `scaled` loss.

    None before the loss is known, and with it all that it reads of them. A
    bias, of which a penalty's gradient is 0, could change before the penalty
    reads it: TensorFlow's dependency optimizer drops the edge from that read
    to the update as implied by others, which are then folded away.
    """
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
    with tf.control_dependencies([loss]):
        optimizer.apply_gradients(zip(gradients, variables))
