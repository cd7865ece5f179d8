import json
import socket
import time

import pytest
import tensorflow as tf

from sngan_tf.errors import UserError
from sngan_tf.modes.train import train
from sngan_tf.runs import distribution
from sngan_tf.runs import workdir as workdir_lib


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


def test_batch_must_be_shared_equally():
    distribution.check_batch_size("data.batch_size", 6, 3)
    with pytest.raises(ValueError, match="batch_size=6, 4 replicas"):
        distribution.check_batch_size("data.batch_size", 6, 4)


def test_batch_that_replicas_cannot_share_ends_before_any_work(
    tiny_config, tmp_path
):
    tiny_config.distribution = "mirrored"
    tiny_config.data.batch_size = 7
    with pytest.raises(
        UserError, match="`data.batch_size` must be.*=7, 2 replicas$"
    ):
        train(tiny_config, workdir_lib.Workdir(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


# Several hosts.


def tf_config(jobs, kind="worker", index=0):
    return json.dumps({"cluster": jobs, "task": {"type": kind, "index": index}})


WORKERS = {"worker": ["a:1", "b:2"]}


@pytest.mark.parametrize("name", ["auto", "multi_worker"])
@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "worker",
        json.dumps({"cluster": WORKERS}),
        json.dumps({"cluster": WORKERS, "task": {"type": "worker"}}),
        tf_config(WORKERS, kind="chief"),
        tf_config(WORKERS, kind="wroker"),
        tf_config({**WORKERS, "ps": ["c:3"]}),
        tf_config(WORKERS, index=2),
        tf_config(WORKERS, index=-1),
        tf_config(WORKERS, index="0"),
        tf_config({"worker": ["a:1", "a:1"]}),
        tf_config({"worker": ["a:1"], "chief": ["a:1"]}),
        tf_config({"worker": ["a:1"], "chief": ["b:2", "c:3"]}),
        tf_config({"worker": ["a", "b:2"]}),
        tf_config({"worker": ["a:1", "b:port"]}),
        tf_config({"worker": ["a:1", "b:0"]}),
        tf_config({"worker": ["a:1", "b:65536"]}),
        tf_config({"worker": "a:1"}),
        tf_config({"worker": []}),
    ],
)
def test_wrong_tf_config_is_one_line(monkeypatch, name, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match="^TF_CONFIG must be JSON") as error:
        distribution.check(name)
    assert str(error.value).endswith(f"Received: {text}")
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("jobs", "kind", "index", "chief"),
    [
        (WORKERS, "worker", 0, True),
        (WORKERS, "worker", 1, False),
        ({**WORKERS, "chief": ["c:3"]}, "chief", 0, True),
        ({**WORKERS, "chief": ["c:3"]}, "worker", 0, False),
        ({"worker": ["a:1"]}, "worker", 0, True),
    ],
)
@pytest.mark.parametrize("name", ["auto", "multi_worker"])
def test_chief_is_the_first_host(monkeypatch, name, jobs, kind, index, chief):
    monkeypatch.setenv("TF_CONFIG", tf_config(jobs, kind, index))
    assert distribution.is_chief(name) == chief


@pytest.mark.parametrize("name", ["one_device", "mirrored", "tpu"])
def test_host_that_works_alone_is_chief(monkeypatch, name):
    monkeypatch.setenv("TF_CONFIG", tf_config(WORKERS, index=1))
    assert distribution.is_chief(name)
    monkeypatch.setenv("TF_CONFIG", "{")
    assert distribution.is_chief(name)


def test_one_host_in_tf_config_is_none_to_work_with(monkeypatch):
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [])
    monkeypatch.setenv("TF_CONFIG", tf_config({"worker": ["a:1"]}))
    assert distribution.strategy("auto") is tf.distribute.get_strategy()


def test_several_hosts_need_a_tf_config(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ValueError, match="multi_worker` needs a TF_CONFIG"):
        distribution.check("multi_worker")


# TPUs, as far as one gets without any.


def test_auto_takes_the_tpus_of_this_host(monkeypatch):
    asked = []

    def resolver(name):
        asked.append(name)
        raise ValueError("none here")

    monkeypatch.setattr(
        tf.config, "list_physical_devices", lambda kind: [f"{kind}:0"]
    )
    monkeypatch.setattr(
        tf.distribute.cluster_resolver, "TPUClusterResolver", resolver
    )
    for name in ("auto", "tpu", "tpu:local", "tpu:pod"):
        with pytest.raises(ValueError, match=r"reached.*\(none here\)$"):
            distribution.strategy(name)
    assert asked == ["local", "local", "local", "pod"]


def test_tpu_that_does_not_answer_is_one_line_within_seconds():
    with socket.socket() as taken:
        # Bound, but nothing listens.
        taken.bind(("127.0.0.1", 0))
        name = f"tpu:grpc://127.0.0.1:{taken.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(ValueError, match="can't be reached") as error:
            distribution.strategy(name)
    assert time.monotonic() - began < 5
    assert f"distribution={name} (" in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.skipif(
    bool(tf.config.list_physical_devices("TPU")), reason="there is a TPU"
)
def test_missing_tpu_is_one_line():
    with pytest.raises(
        ValueError, match=r"Received: distribution=tpu:local \("
    ) as error:
        distribution.strategy("tpu")
    assert len(str(error.value).splitlines()) == 1


def test_host_that_does_not_answer_is_the_lost_one(monkeypatch):
    with socket.socket() as listening, socket.socket() as closed:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        closed.bind(("127.0.0.1", 0))
        ours, alive, lost = (
            f"127.0.0.1:{port}"
            for port in (1, listening.getsockname()[1], closed.getsockname()[1])
        )
        monkeypatch.setenv(
            "TF_CONFIG", tf_config({"worker": [ours, alive, lost]})
        )
        assert distribution.lost_host(ValueError("Cancelled")) == lost
        monkeypatch.setenv("TF_CONFIG", tf_config({"worker": [ours, alive]}))
        assert distribution.lost_host(ValueError("Cancelled")) == (
            f"one of {alive}"
        )
        named = "remote target /job:worker/replica:0/task:1: Socket closed"
        assert distribution.lost_host(ValueError(named)) == alive
