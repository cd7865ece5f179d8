import pytest
import tensorflow as tf

from sngan_tf import distribution


@pytest.mark.parametrize(
    ("name", "replicas"), [("one_device", 1), ("mirrored", 2)]
)
def test_strategy_has_its_replicas(name, replicas, monkeypatch):
    """On the two logical CPUs of these tests, whatever GPUs there are."""
    cpus = tf.config.list_logical_devices("CPU")
    monkeypatch.setattr(
        tf.config,
        "list_logical_devices",
        lambda kind: cpus if kind == "CPU" else [],
    )
    strategy = distribution.strategy(name)
    assert strategy.num_replicas_in_sync == replicas
    sums = strategy.run(lambda: tf.ones(()))
    assert strategy.reduce("SUM", sums, axis=None) == replicas


@pytest.mark.parametrize(
    ("gpus", "chosen"),
    [
        ((), None),
        (("GPU:0",), None),
        (("GPU:0", "GPU:1"), ("GPU:0", "GPU:1")),
    ],
)
def test_auto_mirrors_several_gpus(gpus, chosen, monkeypatch):
    devices = [tf.config.LogicalDevice(name, "GPU") for name in gpus]
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: devices)
    monkeypatch.setattr(distribution, "_mirrored", lambda names: names)
    one_device = tf.distribute.get_strategy()
    assert distribution.strategy("auto") == (chosen or one_device)


@pytest.mark.parametrize("name", distribution.NAMES[:3])
def test_known_names_pass(name):
    distribution.check(name)


@pytest.mark.parametrize("function", ["check", "strategy"])
def test_unknown_name_is_an_error(function):
    with pytest.raises(ValueError, match="one_device, mirrored.*=tpus$"):
        getattr(distribution, function)("tpus")


def test_batch_must_be_shared_equally():
    distribution.check_batch_size("data.batch_size", 6, 3)
    with pytest.raises(ValueError, match="batch_size=6, 4 replicas"):
        distribution.check_batch_size("data.batch_size", 6, 4)
