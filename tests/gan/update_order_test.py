"""That an update waits for all that reads what it changes."""

import keras
import numpy as np
import pytest
import small
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow.python.grappler import tf_optimizer
from tensorflow.python.training import saver

from sngan_tf.gan import GAN
from sngan_tf.gan import methods

SHAPE = (8, 8, 1)


def optimized(function):
    """Returns the nodes of a graph as TensorFlow's optimizers leave it."""
    graph = function.graph
    meta = saver.export_meta_graph(graph_def=graph.as_graph_def(), graph=graph)
    wanted = meta_graph_pb2.CollectionDef()
    for kept in (*function.outputs, *graph.control_outputs):
        wanted.node_list.value.append(kept.name)
    meta.collection_def["train_op"].CopyFrom(wanted)
    config = config_pb2.ConfigProto()
    config.graph_options.rewrite_options.min_graph_nodes = -1
    return {
        node.name: node
        for node in tf_optimizer.OptimizeGraph(config, meta).node
    }


def name_of(edge):
    return edge.lstrip("^").partition(":")[0]


def before(nodes, name):
    """Returns the names of all that a node waits for."""
    found, left = set(), [name]
    while left:
        new = {name_of(edge) for edge in nodes[left.pop()].input} - found
        found |= new
        left += new
    return found


@pytest.mark.parametrize(
    ("method", "loss"), [("r1_r2", "relativistic"), ("gan_gp", "hinge")]
)
def test_no_weight_changes_before_it_is_read(method, loss):
    networks = small.build("cnn", SHAPE, 4, 1.0, method)
    gan = GAN(*networks, loss=loss, **methods.get(method).arguments)
    gan.compile(keras.optimizers.SGD(0.1), keras.optimizers.Adam(1e-3))
    images = tf.constant(np.zeros((4, *SHAPE), "float32"))
    function = tf.function(gan.train_step).get_concrete_function(images)
    handles = {
        id(outer): inner.op.name for outer, inner in function.graph.captures
    }
    nodes = optimized(function)
    reads = 0
    for variable in gan.discriminator.trainable_variables:
        handle = handles[id(variable.value.handle)]
        users = [
            name
            for name, node in nodes.items()
            if handle in map(name_of, node.input)
        ]
        (write,) = (n for n in users if nodes[n].op.startswith("Assign"))
        earlier = before(nodes, write)
        for read in {*users} - {write}:
            assert read in earlier or write in before(nodes, read), read
            reads += read in earlier
    # Of kernels and biases in the loss and again in the penalty.
    assert reads >= 2 * len(gan.discriminator.trainable_variables)
