"""What a server says in place of an answer: `{"error": "..."}`."""

import json

from sngan_tf import errors

with errors.extra("serve"):
    from starlette.responses import Response


class Problem(Exception):
    """An answer that is an error.

    Args:
        status: Of HTTP.
        message: One line: what is wrong, the rule, what was received.
        headers: Beside it.
    """

    def __init__(self, status, message, headers=None):
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}

    def response(self):
        return Response(
            json.dumps({"error": self.message}),
            self.status,
            self.headers,
            "application/json",
        )


def later(message):
    """Returns the `Problem` of what may go well if tried again."""
    return Problem(503, message, {"Retry-After": "1"})
