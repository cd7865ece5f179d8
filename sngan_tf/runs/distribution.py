"""tf.distribute strategies by name, and what the hosts of one do together."""

import functools
import json
import logging
import os
import re
import socket

import tensorflow as tf

from sngan_tf.errors import UserError
from sngan_tf.errors import first_line

_LOGGER = logging.getLogger(__name__)
NAMES = ("auto", "one_device", "mirrored", "multi_worker", "tpu")
_TPU = "tpu:"
_TF_CONFIG = "TF_CONFIG"
_TIMEOUT = 10  # Seconds that a host may take to answer.


def is_name(name):
    """Returns whether there is a strategy of that name."""
    return name in NAMES or name.startswith(_TPU)


def check(name):
    """Raises a ValueError unless `TF_CONFIG` has what that strategy needs."""
    if name in ("auto", "multi_worker"):
        workers, _ = _cluster()
        if name == "multi_worker" and not workers:
            raise ValueError(
                f"`distribution=multi_worker` needs a {_TF_CONFIG} of several "
                'hosts, such as {"cluster": {"worker": ["host0:12345", '
                '"host1:12345"]}, "task": {"type": "worker", "index": 0}}. '
                f"Received: {os.environ.get(_TF_CONFIG) or 'none'}"
            )


def strategy(name):
    """Returns the `tf.distribute.Strategy` of that name.

    One of several hosts, or of TPUs, must be made before TensorFlow computes
    anything; making it waits for the other hosts.

    Args:
        name: For which `is_name` holds: `"one_device"`; `"mirrored"`, all GPUs
            or else all logical CPUs of this host; `"multi_worker"`, all of the
            hosts in `TF_CONFIG`; `"tpu"` or `"tpu:local"`, the TPUs of this
            host, or `"tpu:NAME"`; `"auto"`, whichever of these the machine
            has, mirrored where there are several GPUs.

    Raises:
        ValueError: If there is none, `TF_CONFIG` is wrong, or the TPU can't be
            reached.
    """
    check(name)
    if name == "auto":
        name = _found()
    if name == "one_device":
        return tf.distribute.get_strategy()
    if name == "multi_worker":
        return _multi_worker()
    if name == "mirrored":
        devices = tf.config.list_logical_devices(
            "GPU"
        ) or tf.config.list_logical_devices("CPU")
        return _mirrored(tuple(device.name for device in devices))
    return _tpu(name.removeprefix("tpu").removeprefix(":") or "local")


def is_chief(name):
    """Returns whether this process writes what all hosts make together."""
    if name not in ("auto", "multi_worker"):
        return True
    return _cluster()[1] == 0


def check_batch_size(field, batch_size, replicas):
    """Raises a ValueError unless the replicas can share the batch equally."""
    if batch_size % replicas:
        raise ValueError(
            f"`{field}` must be divisible by the number of replicas. "
            f"Received: {field}={batch_size}, {replicas} replicas"
        )


def distribute(strategy, make):
    """Returns the data set whose elements are the batches of all replicas.

    Args:
        strategy: A `tf.distribute.Strategy`.
        make: Function of this host's replicas, a `range`, and the number of
            all, to a `tf.data.Dataset` of their batches in turn.
    """

    def of_host(context):
        replicas = context.num_replicas_in_sync
        count = replicas // context.num_input_pipelines
        first = context.input_pipeline_id * count
        return make(range(first, first + count), replicas)

    return strategy.distribute_datasets_from_function(of_host)


def gatherer(strategy):
    """Returns a function of one int to a list of what each replica's host has.

    All hosts must call it, and wait for each other.
    """

    @tf.function
    def gather(number):
        def of_replica(number):
            context = tf.distribute.get_replica_context()
            return context.all_gather(tf.identity(number), axis=0)

        return strategy.experimental_local_results(
            strategy.run(of_replica, args=(number,))
        )[0]

    return lambda number: (
        gather(tf.constant([number], tf.int64)).numpy().tolist()
    )


def has_several_hosts(strategy):
    """Returns whether other processes take part."""
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def lost_host(error):
    """Returns the addresses of the hosts that an error of TensorFlow is about.

    Where it names none, they are those that don't answer.
    """
    addresses, place = _cluster()
    target = r"remote target /job:(\w+)/replica:\d+/task:(\d+)"
    found = re.search(target, str(error))
    if not found:
        others = [*addresses[:place], *addresses[place + 1 :]]
        silent = [address for address in others if not _answers(address)]
        return " and ".join(silent) or f"one of {', '.join(others)}"
    jobs = json.loads(os.environ[_TF_CONFIG])["cluster"]
    return jobs[found[1]][int(found[2])]


def _answers(address):
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), _TIMEOUT).close()
    except OSError:
        return False
    return True


def _found():
    """Returns the strategy of what this machine has."""
    workers, _ = _cluster()
    if workers:
        return "multi_worker"
    if tf.config.list_physical_devices("TPU"):
        return "tpu"
    gpus = tf.config.list_logical_devices("GPU")
    return "mirrored" if len(gpus) > 1 else "one_device"


def _cluster():
    """Returns the addresses in `TF_CONFIG`, chief first, and our place.

    No addresses and place 0 where there is no other host.

    Raises:
        UserError: If it is wrong.
    """
    text = os.environ.get(_TF_CONFIG) or "{}"
    try:
        config = json.loads(text)
        jobs = config.get("cluster") or {}
        if not jobs:
            return [], 0
        chiefs, workers = jobs.get("chief", []), jobs.get("worker", [])
        addresses = [*chiefs, *workers]
        kind, index = config["task"]["type"], config["task"]["index"]
        if (
            not jobs.keys() <= {"chief", "worker"}
            or len(chiefs) > 1
            or len(set(addresses)) != len(addresses)
            or not all(map(_is_address, addresses))
            or index not in range(len(jobs[kind]))
        ):
            raise ValueError
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{_TF_CONFIG} must be JSON with the hosts, each once as "
            "HOST:PORT, in cluster.worker (and one in cluster.chief), and this "
            f"one's place in task.type and task.index. Received: {text}"
        ) from error
    place = index + (len(chiefs) if kind == "worker" else 0)
    return (addresses, place) if len(addresses) > 1 else ([], 0)


def _is_address(text):
    host, _, port = text.rpartition(":")
    return bool(host) and 0 < int(port) < 2**16


@functools.cache
def _mirrored(devices):
    # Each strategy numbers its collectives from the same start, so a second
    # one on the same devices would be taken for the first.
    return tf.distribute.MirroredStrategy(devices)


@functools.cache
def _multi_worker():
    addresses, place = _cluster()
    _LOGGER.info(
        "Host %d of %d; waiting for the others: %s",
        place,
        len(addresses),
        ", ".join(addresses),
    )
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except (tf.errors.OpError, RuntimeError) as error:
        raise ValueError(
            f"The hosts of {_TF_CONFIG} can't work together. Received: "
            f"{', '.join(addresses)} ({first_line(error)})"
        ) from error


@functools.cache
def _tpu(name):
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(name)
        if name != "local":
            # TensorFlow would wait for minutes.
            host, _, port = resolver.master().rpartition("/")[2].partition(":")
            socket.create_connection((host, int(port)), _TIMEOUT).close()
            tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    except (tf.errors.OpError, OSError, ValueError, RuntimeError) as error:
        raise ValueError(
            "`distribution` names a TPU that can't be reached. Received: "
            f"distribution={_TPU}{name} ({first_line(error)})"
        ) from error
