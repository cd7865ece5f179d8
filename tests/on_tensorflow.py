"""What tests have on TensorFlow: two logical CPUs, and all of a run."""

import functools
import gc

import keras
import numpy as np
import pytest
import small
import tensorflow as tf
from tensorflow.python.framework import ops as tf_ops

from sngan_tf import networks
from sngan_tf.data import arrays
from sngan_tf.data import pictures as pictures_lib
from sngan_tf.runs import build
from sngan_tf.runs import checkpoint

# The tests run two at a time; more threads each would only contend.
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * 2,
)


# What `tiny_config` puts others in the place of.
BUILD = networks.build
LOAD_ARRAYS = functools.cache(arrays.load)
# What the imports have made stays, so it need not be looked through each time.
gc.collect()
gc.freeze()
# Graphs make many objects that stay: to look for others often is in vain.
gc.set_threshold(50_000, 20, 50)


@pytest.fixture(autouse=True, scope="module")
def cleared():
    """Lets go of what the graphs of a file's tests hold."""
    yield
    keras.backend.clear_session(free_memory=False)
    # TensorFlow keeps every graph that has a function with a gradient of its
    # own, which the sum of gradients over replicas is in Keras's optimizers.
    gradients = tf_ops.gradient_registry._registry
    kept = [name for name in gradients if name.startswith("CustomGradient-")]
    for name in kept:
        del gradients[name]
    if kept:
        gc.collect()


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory):
    """Returns a folder for classifiers that many tests score by."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def fitted(monkeypatch):
    """Returns a list that grows with every picture that is fitted."""
    pictures = []
    fit = pictures_lib.Format.fit

    def counted(self, image):
        pictures.append(image)
        return fit(self, image)

    monkeypatch.setattr(pictures_lib.Format, "fit", counted)
    return pictures


@pytest.fixture
def add_best():
    """Keeps a GAN of other kernels as the best, of an earlier step."""

    def add(config, workdir, step):
        gan = build.restored_gan(config, workdir, "last")
        random = np.random.default_rng(3)
        for weight in gan.sampling_generator.weights:
            if len(weight.shape) > 1:
                weight.assign(random.normal(size=weight.shape))
        gan.step.assign(step)
        checkpoint.Checkpoints(gan, workdir.best, keep=1).save(step)
        return gan

    return add


@pytest.fixture
def real_networks(monkeypatch, tiny_config):
    """For tests of the tiny config that are about the networks it names."""
    monkeypatch.setattr(networks, "build", BUILD)


@pytest.fixture
def tiny_config(monkeypatch, shared_cache):
    """The digits config at a size that trains in a moment.

    Its networks are those of `small`, whatever their name.
    """
    from configs import digits

    monkeypatch.setattr(networks, "build", small.build)
    monkeypatch.setattr(arrays, "load", LOAD_ARRAYS)
    monkeypatch.setenv("SNGAN_TF_CACHE", str(shared_cache))
    config = digits.get_config()
    config.data.image_size = 8
    config.data.batch_size = 8
    config.data.shift = 1
    config.network.width = 1 / 32
    config.network.latent_dim = 4
    config.updates = 4
    config.log_every = 2
    config.checkpoint_every = 2
    config.sample_every = 2
    config.evaluate_every = 0
    config.sampling.count = 9
    config.evaluation.samples = 50
    config.evaluation.classifier_updates = 5
    return config


class TinyInception(tf.Module):
    """Means of a few places, with the interface of tensorflow-gan's."""

    @tf.function(
        input_signature=[tf.TensorSpec((None, 299, 299, 3), tf.float32)]
    )
    def __call__(self, images):
        pooled = tf.nn.avg_pool2d(images, 99, 99, "VALID")
        flat = tf.reshape(pooled, (-1, 3 * 3 * 3))
        return {"pool_3": flat[:, :6], "logits": 9 * flat[:, 6:10]}


@pytest.fixture(scope="session")
def inception(tmp_path_factory):
    """Returns the folder of a SavedModel with Inception's interface."""
    folder = tmp_path_factory.mktemp("inception") / "model"
    tf.saved_model.save(TinyInception(), str(folder))
    return folder
