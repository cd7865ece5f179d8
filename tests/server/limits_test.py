"""What a server bears: slow and many clients, large bodies, its own end."""

import asyncio
import json
import socket
import threading
import time

import forked
import httpx
import pytest
import served
import tensorflow as tf

from sngan_tf.errors import UserError
from sngan_tf.server import models
from sngan_tf.server import run
from sngan_tf.server import service as service_lib
from sngan_tf.server.limits import Limits

PREDICT = "/v1/models/halves:predict"
BODY = b'{"instances": [1.0]}'
LIMITS = Limits(
    body_bytes=1_000,
    body_seconds=0.3,
    header_bytes=2_000,
    header_seconds=0.3,
    idle_seconds=1,
    queue=2,
    deadline=2.0,
)


class Halves:
    """A model that computes only once it is let, as real ones take time."""

    def __init__(self):
        self.free = threading.Event()
        self.free.set()
        self.calls = 0

    def load(self):
        signature = models.Signature(
            {"x": served.VECTOR}, {"y": served.VECTOR}, self._call
        )
        return models.Model("halves", 1, {"serving_default": signature})

    def _call(self, x):
        self.calls += 1
        assert self.free.wait(10)
        return {"y": x / 2}


@pytest.fixture
def halves():
    return Halves()


@pytest.fixture
def client(halves):
    with served.client_of(halves.load, LIMITS) as client:
        yield client
        halves.free.set()


def connected(client):
    return socket.create_connection(("127.0.0.1", client.port), timeout=10)


def received(connection):
    """Returns status and JSON of what comes until the connection is closed."""
    content = b""
    while part := connection.recv(65536):
        content += part
    head, _, body = content.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


HEAD = (
    f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\n"
    f"Content-Length: {len(BODY)}\r\n\r\n"
).encode()


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (b"", "The headers must be there within 0.3 seconds"),
        (HEAD[:30], "The headers must be there within 0.3 seconds"),
        (HEAD, "The body must be there within 0.3 seconds. Received: 0 bytes"),
        (HEAD + BODY[:5], "Received: 5 bytes"),
    ],
    ids=["nothing", "some headers", "no body", "some of the body"],
)
def test_slow_client_is_told_and_left(client, sent, message):
    with connected(client) as slow:
        slow.sendall(sent)
        began = time.monotonic()
        status, said = received(slow)
        assert 0.2 < time.monotonic() - began < 5
    assert status == 408
    assert message in said["error"]
    assert client.post(PREDICT, content=BODY).json() == {"predictions": [0.5]}


def test_client_that_is_not_slow_keeps_its_connection(client):
    """Also for a second request that comes later than headers may take."""
    with connected(client) as patient:
        for _ in range(2):
            patient.sendall(HEAD + BODY)
            content = b""
            while not content.endswith(b"[0.5]}"):
                content += patient.recv(65536)
            time.sleep(0.5)


def test_client_that_reads_nothing_is_left():
    """Of what fits no system's buffers."""
    count = 1_000_000
    signature = models.Signature(
        {"x": served.VECTOR},
        {"y": tf.TensorSpec((count,), tf.int32)},
        lambda x: {"y": tf.fill((count,), 10**9)},
    )
    model = models.Model("halves", 1, {"serving_default": signature})
    limits = Limits(answer_seconds=0.3)
    content = b'{"inputs":    [1.0]}'
    with served.client_of(lambda: model, limits) as client:
        connections = client.server.server_state.connections
        with connected(client) as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            slow.sendall(HEAD + content)
            # It is answered, and then given up; the client's own stays.
            for count_of in (2, 1):
                served.wait(lambda n=count_of: len(connections) == n, 10)
        # One that reads gets all.
        answer = client.post(PREDICT, content=content)
        assert answer.json() == {"outputs": [10**9] * count}


@pytest.mark.parametrize("size", [1_001, 3_000, 50_000])
def test_large_body_is_refused(client, size):
    answer = client.post(PREDICT, content=b" " * size)
    assert answer.status_code == 413
    said = answer.json()["error"]
    assert said == "The body must be at most 1,000 bytes"
    assert client.post(PREDICT, content=BODY).status_code == 200


def test_body_of_unknown_length_is_bounded_too(client):
    parts = (b" " * 500 for _ in range(4))
    assert client.post(PREDICT, content=parts).status_code == 413
    parts = (bytes([byte]) for byte in BODY)
    answer = client.post(PREDICT, content=parts)
    assert answer.json() == {"predictions": [0.5]}


def test_long_headers_are_refused(client):
    answer = client.get("/health", headers={"X": "x" * 3_000})
    assert answer.status_code in (400, 431)
    assert client.get("/health").json() == {"status": "ok"}


def test_full_queue_is_told_to_come_again(halves, client):
    halves.free.clear()
    answers = []

    def ask():
        with httpx.Client(base_url=client.base_url, timeout=10) as own:
            answers.append(own.post(PREDICT, content=BODY))

    def waiting():
        return len(client.service.batcher._waiting)

    warm = halves.calls
    threads = [threading.Thread(target=ask) for _ in range(3)]
    threads[0].start()
    served.wait(lambda: halves.calls > warm)
    for thread in threads[1:]:
        thread.start()
    served.wait(lambda: waiting() == 2)
    refused = client.post(PREDICT, content=BODY)
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "1"
    assert "sngan_waiting_requests 2.0" in client.get("/metrics").text
    # What needs no model is answered meanwhile.
    assert client.get("/ready").status_code == 200
    halves.free.set()
    for thread in threads:
        thread.join()
    assert [answer.json() for answer in answers] == 3 * [{"predictions": [0.5]}]


def test_request_has_a_deadline(halves):
    limits = Limits(deadline=0.2)
    with served.client_of(halves.load, limits) as client:
        halves.free.clear()
        answer = client.post(PREDICT, content=BODY)
        assert answer.status_code == 504
        assert "no answer within 0.2 seconds" in answer.json()["error"]
        halves.free.set()
        assert client.post(PREDICT, content=BODY).status_code == 200


def test_ready_once_the_model_is_loaded_and_warm():
    halves = Halves()
    free = threading.Event()

    def load():
        assert free.wait(10)
        return halves.load()

    with served.client_of(load, is_awaited=False) as client:
        assert client.get("/health").status_code == 200
        for path in ("/ready", "/v1/models", "/sample.png"):
            answer = client.get(path)
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "1"
        free.set()
        served.wait(lambda: client.get("/ready").status_code == 200)
        assert halves.calls == 7  # 1, 2, 4, ..., 64 rows


def test_model_that_fails_to_load_is_told_of():
    failures = []

    def load():
        raise UserError("no model")

    async def start():
        service = service_lib.Service(load, on_failure=failures.append)
        async with service.running():
            while not failures:
                await asyncio.sleep(0.01)

    asyncio.run(start())
    assert str(failures[0]) == "no model"


def test_failure_of_the_model_is_no_end(halves, client):
    def fail(x):
        raise RuntimeError("out of luck")

    signature = client.service.model.signatures["serving_default"]
    object.__setattr__(signature, "call", fail)
    answer = client.post(PREDICT, content=BODY)
    assert answer.status_code == 500
    assert answer.json() == {"error": "The model failed: out of luck"}
    object.__setattr__(signature, "call", halves._call)
    assert client.post(PREDICT, content=BODY).status_code == 200


def test_requests_are_counted_by_patterns_of_paths(client):
    client.post(PREDICT, content=BODY)
    client.get("/v1/models/other")
    client.get("/some/where")
    client.request("BREW", "/some/where")
    text = client.get("/metrics").text
    count = 'sngan_requests_total{{method="{}",path="{}",status="{}"}} 1.0'
    model = "/v1/models/{name}"
    for method, path, status in (
        ("POST", f"{model}:{{verb}}", 200),
        ("GET", model, 404),
        ("GET", "other", 404),
        ("other", "other", 404),
    ):
        assert count.format(method, path, status) in text
    assert 'sngan_model_info{name="halves",version="1"} 1.0' in text
    assert "sngan_batch_rows_sum 1.0" in text


def test_page_and_descriptions_need_nothing_from_elsewhere(client):
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    described = client.get("/openapi.json").json()
    docs = client.get("/docs").text
    for path in ("/sample.png", "/judge", "/v1/models/{name}:{verb}"):
        for operation in described["paths"][path].values():
            assert {*operation["responses"]} == {"200", "4XX", "5XX"}
        assert path in docs
    for text in (page.text, docs):
        assert 'src="http' not in text
        assert 'href="http' not in text
    assert client.get("/page.html").status_code == 404


@pytest.mark.slow
def test_terminated_server_answers_what_has_come_in(tmp_path):
    log = tmp_path / "log"
    log.touch()
    process = forked.start(
        tmp_path,
        ["--mode=serve", "--workdir=none", "--port=0"],
        log,
        log,
        {"SNGAN_TF_CACHE": str(tmp_path)},
    )
    port = served.port_of(log, process)
    address = f"http://127.0.0.1:{port}"
    served.wait(lambda: httpx.get(f"{address}/ready").status_code == 200)
    body = json.dumps({"instances": [[0.5] * 128]}).encode()
    head = (
        "POST /v1/models/digits:predict HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    with socket.create_connection(("127.0.0.1", port), timeout=30) as begun:
        begun.sendall(head + body[:100])
        time.sleep(0.3)
        process.terminate()
        time.sleep(0.5)
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{address}/health")
        begun.sendall(body[100:])
        status, said = received(begun)
    assert status == 200
    assert len(said["predictions"][0]) == 16
    process.join(30)
    assert process.exitcode == 0
    assert "Ended; what had come in was answered" in log.read_text()
    assert "Traceback" not in log.read_text()


def test_answers_are_not_held_back():
    """Connections inherit from the listener what asyncio won't set on them."""
    with (
        run.listening("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()),
    ):
        connection, _ = listener.accept()
        with connection:
            option = socket.IPPROTO_TCP, socket.TCP_NODELAY
            assert connection.getsockopt(*option)
