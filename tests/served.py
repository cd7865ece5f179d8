"""Models to be served, and clients of theirs, for the tests of the server."""

import contextlib
import http.client
import threading
import time

import httpx
import tensorflow as tf

from sngan_tf.server import run
from sngan_tf.server import service as service_lib

VECTOR = tf.TensorSpec((None,), tf.float32)


def save(folder, **functions):
    """Writes a SavedModel with a signature of each `tf.function`."""
    module = tf.Module()
    for name, function in functions.items():
        setattr(module, name, function)
    tf.saved_model.save(
        module,
        str(folder),
        {name: f.get_concrete_function() for name, f in functions.items()},
    )
    return folder


def half_plus(added, folder):
    """Writes the model of TensorFlow Serving's documentation, x / 2 + added."""

    @tf.function(input_signature=[VECTOR])
    def half(x):
        return {"y": x / 2 + added}

    return save(folder, serving_default=half)


@contextlib.contextmanager
def client_of(load, limits=None, is_awaited=True):
    """A context with a client of a service that is ready, on a real socket.

    Args:
        load: As of `service.Service`.
        limits: `Limits`.
        is_awaited: Whether it is to be ready.
    """
    service = service_lib.Service(load, limits)
    server = run.server(service)
    with run.listening("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        port = listener.getsockname()[1]
        try:
            with httpx.Client(
                base_url=f"http://127.0.0.1:{port}", timeout=60
            ) as client:
                client.service, client.server = service, server
                client.port = port
                wait(lambda: server.started)
                if is_awaited:
                    wait(lambda: client.get("/ready").status_code == 200)
                yield client
        finally:
            server.should_exit = True
            thread.join()


def wait(until, seconds=60):
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def port_of(log, process):
    """Returns the port that a server says it listens at, in its log."""

    def said():
        assert process.is_alive(), log.read_text()
        return "Serving on http://" in log.read_text()

    wait(said)
    line = log.read_text().split("Serving on http://")[1].split("/")[0]
    return int(line.rpartition(":")[2])


def ask(port, method, path, body=None):
    """Returns the status and content of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
