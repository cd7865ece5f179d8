"""What stands before the routes: bounds on bodies, headers, counts."""

import asyncio
import contextlib
import itertools
import time

from sngan_tf.server.problems import Problem

_CLOSE = {"Connection": "close"}
# Of what is too large, what is still read, so that the answer is, too.
_DISCARDED = 4
POLICY = (
    "default-src 'none'; img-src 'self' blob: data:; style-src "
    "'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]


class Guard:
    """An ASGI application around another.

    Bodies are read before it is called: in full, in time, or not at all.

    Args:
        app: The other.
        service: `service.Service`.
    """

    def __init__(self, app, service):
        self._app = app
        self._limits = service.limits
        self._meters = service.meters

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 500

        async def noting(message):
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *_HEADERS]
            await send(message)

        try:
            body = await self._read(scope, receive)
            await self._app(scope, _replayed(body, receive), noting)
        except Problem as problem:
            await problem.response()(scope, receive, noting)
        finally:
            route = scope.get("route")
            path = getattr(route, "path", "other")
            seconds = time.perf_counter() - began
            self._meters.answered(scope["method"], path, status, seconds)

    async def _read(self, scope, receive):
        """Returns the body.

        Raises:
            Problem: 413 if it is too long, 408 if it takes too long, 431 if
                the headers are too long, 400 if they have two lengths of it.
        """
        headers = dict(scope["headers"])
        size = len(scope["path"]) + len(scope["query_string"])
        size += sum(map(len, itertools.chain(*scope["headers"])))
        if size > self._limits.header_bytes:
            raise Problem(
                431,
                "The headers and the address must be at most "
                f"{self._limits.header_bytes:,} bytes. Received: {size:,}",
                _CLOSE,
            )
        if {b"content-length", b"transfer-encoding"} <= {*headers}:
            raise Problem(
                400,
                "The body must have a Content-Length or a Transfer-Encoding. "
                "Received: both",  # Of which a proxy may believe the other.
                _CLOSE,
            )
        length = headers.get(b"content-length", b"0")
        most = self._limits.body_bytes
        is_announced = length.isdigit() and int(length) > most
        if is_announced and b"expect" in headers:
            raise self._too_long()  # It has not been sent yet.
        body, size = [], 0
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                async for part in _parts(receive):
                    size += len(part)
                    if size <= most:
                        body.append(part)
                    elif size > _DISCARDED * most:
                        break
        except TimeoutError as error:
            raise Problem(
                408,
                "The body must be there within "
                f"{self._limits.body_seconds:g} seconds. Received: "
                f"{size:,} bytes",
                _CLOSE,
            ) from error
        if size > most:
            raise self._too_long()
        return b"".join(body)

    def _too_long(self):
        return Problem(
            413,
            f"The body must be at most {self._limits.body_bytes:,} bytes",
            _CLOSE,
        )


async def _parts(receive):
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        yield message.get("body", b"")
        if not message.get("more_body"):
            return


def _replayed(body, receive):
    """Returns an ASGI `receive` that has the body at once."""
    left = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay():
        with contextlib.suppress(IndexError):
            return left.pop()
        return await receive()

    return replay
