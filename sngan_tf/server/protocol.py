"""HTTP on a connection, for clients that are slow or speak something else."""

import json

from sngan_tf import errors

with errors.extra("serve"):
    import h11
    from uvicorn.protocols.http import h11_impl

_REASONS = {400: b"Bad Request", 408: b"Request Timeout"}


def bounded(limits):
    """Returns uvicorn's protocol, with bounds on how long clients may take.

    To send headers, and to read an answer; bodies are the `Guard`'s.

    Args:
        limits: `Limits`.
    """

    class Protocol(h11_impl.H11Protocol):
        _stuck = None  # Timer of an answer that isn't read.

        def connection_made(self, transport):
            super().connection_made(transport)
            self._await_headers()

        def connection_lost(self, exc):
            self._waiting.cancel()
            self._stop_counting()
            super().connection_lost(exc)

        def handle_events(self):
            super().handle_events()
            if self.conn.their_state is not h11.IDLE:
                self._waiting.cancel()

        def on_response_complete(self):
            # Between requests uvicorn's own bound is in force, until the next
            # one begins.
            self._await_headers()
            super().on_response_complete()

        def pause_writing(self):
            super().pause_writing()
            self._stuck = self.loop.call_later(
                limits.answer_seconds, self.transport.abort
            )

        def resume_writing(self):
            self._stop_counting()
            super().resume_writing()

        def _stop_counting(self):
            if self._stuck:
                self._stuck.cancel()

        def send_400_response(self, msg):
            self._refuse(400, f"The request must be HTTP/1.1. {msg}")

        def _await_headers(self):
            self._waiting = self.loop.call_later(
                limits.header_seconds + limits.idle_seconds * bool(self.cycle),
                self._give_up,
            )

        def _give_up(self):
            if (
                self.conn.their_state is h11.IDLE
                and not self.transport.is_closing()
            ):
                self._refuse(
                    408,
                    "The headers must be there within "
                    f"{limits.header_seconds:g} seconds",
                )

        def _refuse(self, status, message):
            body = json.dumps({"error": message}).encode()
            response = h11.Response(
                status_code=status,
                reason=_REASONS[status],
                headers=[
                    (b"content-type", b"application/json"),
                    (b"content-length", str(len(body)).encode()),
                    (b"connection", b"close"),
                ],
            )
            for event in (response, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event))
            self.transport.close()

    return Protocol
