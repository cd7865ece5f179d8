"""A hundred kinds of requests that a server must refuse and survive.

Each is `(what, bytes)`, to be sent on a connection of its own to one that
serves the pretrained digits: 16 pixels, 128 latents. The answer to each must be
a 4xx with `{"error": "..."}`.
"""

import gzip
import io
import json
import socket
import struct
import zlib

from PIL import Image

_PREDICT = "/v1/models/digits:predict"
_LATENTS = [0.5] * 128
_MEGABYTE = 2**20


def kinds():
    """Returns the requests, `[(what, bytes)]`."""
    return [
        *_malformed_json(),
        *_wrong_bodies(),
        *_wrong_tensors(),
        *_wrong_names(),
        *_wrong_queries(),
        *_wrong_pictures(),
        *_wrong_http(),
    ]


def ask(port, content):
    """Sends bytes, and returns the status and the JSON of the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(content)
        received = b""
        while part := client.recv(_MEGABYTE):
            received += part
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def request(method, path, body=b"", **headers):
    """Returns the bytes of a request that is the last on its connection."""
    headers = {
        "Host": "localhost",
        "Connection": "close",
        "Content-Length": len(body),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    lines = [f"{method} {path} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _predict(body, path=_PREDICT):
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    return request("POST", path, body)


def _malformed_json():
    bodies = {
        "no body": b"",
        "a space": b" ",
        "no JSON": b"latents",
        "half of it": b'{"instances": [[0.5',
        "two of it": b"{}{}",
        "a comma too many": b'{"instances": [0.5,]}',
        "single quotes": b"{'instances': [0.5]}",
        "a comment": b'{"instances": [0.5]} // mine',
        "a form": b"instances=0.5&signature_name=serving_default",
        "XML": b"<instances>0.5</instances>",
        "a byte that is no UTF-8": b'{"instances": ["\xff\xfe"]}',
        "UTF-16 cut short": '{"instances": [0.5]}'.encode("utf-16")[:-1],
        "zeros": bytes(64),
        "a pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x07.",
        "100,000 brackets": b"[" * 100_000,
        "nested objects": b'{"instances": ' * 50_000,
        "a number of 10,000 digits": b'{"inputs": %s}' % (b"1" * 10_000),
    }
    return [(f"JSON: {what}", _predict(body)) for what, body in bodies.items()]


def _wrong_bodies():
    bodies = {
        "a list": [_LATENTS],
        "a number": 3,
        "null": None,
        "a string": "instances",
        "empty": {},
        "instances and inputs": {"instances": [_LATENTS], "inputs": [_LATENTS]},
        "an unknown key": {"instances": [_LATENTS], "extra": 1},
        "a key in other letters": {"Instances": [_LATENTS]},
        "examples": {"examples": [{"latents": _LATENTS}]},
        "instances that are no list": {"instances": 3},
        "instances that are an object": {"instances": {"latents": [_LATENTS]}},
        "no instances": {"instances": []},
        "null for instances": {"instances": None},
        "mixed instances": {"instances": [_LATENTS, {"latents": _LATENTS}]},
        "an unknown signature": {"signature_name": "x", "inputs": [_LATENTS]},
        "a signature's number": {"signature_name": 1, "inputs": [_LATENTS]},
        "a signature's list": {"signature_name": ["a"], "inputs": [_LATENTS]},
    }
    return [(f"body: {what}", _predict(body)) for what, body in bodies.items()]


def _wrong_tensors():
    latents = {
        "NaN": [float("nan")] * 128,
        "infinity": [float("inf")] * 128,
        "more than float32 holds": [1e39] * 128,
        "a huge whole number": [10**400] * 128,
        "strings": ["0.5"] * 128,
        "bools": [True] * 128,
        "null": [None] * 128,
        "objects": [{"x": 1}] * 128,
        "bytes": [{"b64": "AAAA"}] * 128,
        "one too few": _LATENTS[1:],
        "one too many": [*_LATENTS, 0.5],
        "none": [],
        "a scalar": 0.5,
        "nested": [_LATENTS],
        "one list among numbers": [*_LATENTS[1:], [0.5]],
        "of two lengths": [[0.5], [0.5, 0.5]],
    }
    tensors = [
        (what, {"instances": [value]}) for what, value in latents.items()
    ]
    tensors += [
        ("a row too short", {"instances": [_LATENTS, _LATENTS[1:]]}),
        ("a scalar for all", {"inputs": 0.5}),
        ("a name of none", {"inputs": {"latent": [_LATENTS]}}),
        ("a name too many", {"inputs": {"latents": [_LATENTS], "labels": [1]}}),
        ("no name", {"inputs": {}}),
        ("500 rows", {"inputs": [_LATENTS] * 500}),
    ]
    for what, inputs in {
        "a negative count": {"seed": 0, "count": -1},
        "a huge count": {"seed": 0, "count": 10**9},
        "a count beyond int32": {"seed": 0, "count": 2**40},
        "a fraction of a count": {"seed": 0, "count": 2.5},
        "a list of counts": {"seed": 0, "count": [1]},
        "a seed's name": {"seed": "zero", "count": 1},
        "a missing seed": {"count": 1},
    }.items():
        tensors.append((what, {"signature_name": "sample", "inputs": inputs}))
    return [(f"tensor: {what}", _predict(body)) for what, body in tensors]


def _wrong_names():
    body = {"instances": [_LATENTS]}
    posted = {
        "another model": "/v1/models/half_plus_two:predict",
        "another version": "/v1/models/digits/versions/99:predict",
        "a version's name": "/v1/models/digits/versions/newest:predict",
        "another verb": "/v1/models/digits:classify",
        "no verb": "/v1/models/digits",
        "a label": "/v1/models/digits/labels/stable:predict",
        "another path": "/v2/models/digits/infer",
    }
    asked = {
        "another model": "/v1/models/half_plus_two",
        "the parent folder": "/../../etc/passwd",
        "the parent folder, quoted": "/v1/models/%2e%2e%2f%2e%2e%2fetc",
        "the page's file": "/page.html",
        "predict by GET": _PREDICT,
        "judge by GET": "/judge",
    }
    return [
        *((f"POST of {what}", _predict(body, x)) for what, x in posted.items()),
        *((f"GET of {what}", request("GET", x)) for what, x in asked.items()),
        ("DELETE of the model", request("DELETE", "/v1/models/digits")),
        ("PUT of the page", request("PUT", "/", b"mine")),
        ("a method of its own", request("BREW", "/sample.png")),
    ]


def _wrong_queries():
    queries = (
        "sample.png?seed=x",
        "sample.png?seed=-1",
        "sample.png?seed=4294967296",
        "sample.png?seed=1.5",
        "sample.png?seed=",
        "sample.png?count=0",
        "sample.png?count=257",
        "sample.png?count=99999999999999999999",
        "sample.png?label=3",
        "sample.png?label=seven",
        "sample.png?truncation=nan",
        "sample.png?truncation=inf",
        "sample.png?truncation=-0.1",
        "sample.png?truncation=2.1",
        "sample.png?columns=0",
        "sample.png?columns=1000000",
        "sample.png?sed=3",
        "latents.json?count=257",
        "walk.png?position=1.5",
        "walk.png?start=a",
        "walk.gif?frames=1",
        "walk.gif?frames=100000",
    )
    return [(f"GET {query}", request("GET", f"/{query}")) for query in queries]


def _wrong_pictures():
    buffer = io.BytesIO()
    Image.new("L", (64, 64)).save(buffer, "PNG")
    whole = buffer.getvalue()
    bodies = {
        "nothing": b"",
        "text": b"a picture",
        "a GIF": b"GIF89a" + bytes(64),
        "half a PNG": whole[: len(whole) // 2],
        "a JPEG's beginning": b"\xff\xd8\xff\xe0" + bytes(64),
        "10,000 scans": _of_many_scans(10_000),
        "a gigapixel": _of_size(30_000, 30_000),
        "9 MiB": bytes(9 * _MEGABYTE),
    }
    judged = [
        (f"judge: {what}", request("POST", "/judge", body))
        for what, body in bodies.items()
    ]
    return [
        *judged,
        ("judge: a label", request("POST", "/judge?label=1", whole)),
    ]


def _of_many_scans(count):
    """Returns a small JPEG of which the last scan comes again and again."""
    buffer = io.BytesIO()
    Image.new("L", (64, 64)).save(buffer, "JPEG", progressive=True)
    before, mark, scan = buffer.getvalue()[:-2].rpartition(b"\xff\xda")
    return before + (mark + scan) * count + b"\xff\xd9"


def _of_size(width, height):
    """Returns a PNG that says to be of a size, and holds no pixels."""
    size = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = {b"IHDR": size, b"IDAT": zlib.compress(b""), b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks.items()
    )


def _wrong_http():
    body = json.dumps({"instances": [_LATENTS]}).encode()
    head = f"POST {_PREDICT} HTTP/1.1\r\nHost: localhost\r\n".encode()
    long = "x" * 100_000
    return [
        ("HTTP: none", b"hello\r\n\r\n"),
        ("HTTP: TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
        ("HTTP: no host", b"GET /health HTTP/1.1\r\n\r\n"),
        ("HTTP: a header without colon", head + b"broken\r\n\r\n"),
        ("HTTP: a length that is none", head + b"Content-Length: x\r\n\r\n"),
        ("HTTP: a negative length", head + b"Content-Length: -1\r\n\r\n"),
        (
            "HTTP: two lengths",
            head + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n{}",
        ),
        (
            "HTTP: a length beside chunks",
            head
            + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body),
        ),
        (
            "HTTP: a chunk without size",
            head + b"Transfer-Encoding: chunked\r\n\r\nmany\r\n",
        ),
        ("HTTP: an endless path", request("GET", f"/{long}")),
        ("HTTP: an endless header", request("GET", "/health", X=long)),
        (
            "HTTP: a body that is announced as 1 TiB",
            request(
                "POST", _PREDICT, Content_Length=2**40, Expect="100-continue"
            ),
        ),
        (
            "HTTP: a body of 9 MiB in chunks",
            head
            + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
            + 9 * (b"100000\r\n" + bytes(_MEGABYTE) + b"\r\n")
            + b"0\r\n\r\n",
        ),
        (
            "HTTP: a compressed body",
            request(
                "POST", _PREDICT, gzip.compress(body), Content_Encoding="gzip"
            ),
        ),
    ]
