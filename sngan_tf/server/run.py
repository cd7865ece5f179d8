"""A server on a socket, until it is told to end."""

import logging
import socket

from sngan_tf import errors
from sngan_tf.errors import UserError
from sngan_tf.server import app as app_lib
from sngan_tf.server import protocol
from sngan_tf.server import service as service_lib
from sngan_tf.server.limits import Limits

with errors.extra("serve"):
    import uvicorn

_LOGGER = logging.getLogger(__name__)
_LOOPBACK = ("127.", "::1")


def run(load, host, port, limits=None):
    """Serves until SIGTERM or Ctrl-C, and then answers what has come in.

    Args:
        load: As of `service.Service`.
        host: Name or address to listen at.
        port: A number, 0 for any that is free.
        limits: `Limits`.

    Raises:
        UserError: If nobody can listen there, or the model can't be loaded.
    """
    limits = limits or Limits()
    failures = []

    def fail(error):
        failures.append(error)
        of_service.should_exit = True

    service = service_lib.Service(load, limits, fail)
    of_service = server(service)
    with listening(host, port) as listener:
        address = listener.getsockname()[0]
        _LOGGER.info("Serving on %s", _url(address, listener))
        if not address.startswith(_LOOPBACK):
            _LOGGER.warning(
                "Whoever reaches %s can ask for pictures; put a proxy with "
                "passwords and TLS before it",
                address,
            )
        try:
            of_service.run(sockets=[listener])
        except errors.Interrupted:  # As uvicorn repeats the signal at the end.
            _LOGGER.info("Ended; what had come in was answered")
    if failures:
        raise failures[0]


def server(service):
    """Returns uvicorn's server of a `service.Service`, not running yet."""
    limits = service.limits
    # It warns of every client that speaks something else.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    config = uvicorn.Config(
        app_lib.build(service),
        http=protocol.bounded(limits),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=limits.connections,
        timeout_keep_alive=limits.idle_seconds,
        timeout_graceful_shutdown=limits.drain_seconds,
        h11_max_incomplete_event_size=limits.header_bytes,
    )
    return uvicorn.Server(config)


def listening(host, port):
    """Returns a socket that listens.

    Raises:
        UserError: If the address is none of this machine's, or in use.
    """
    try:
        family, *_, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )[0]
        listener = socket.create_server(address[:2], family=family)
    except (OSError, UnicodeError) as error:  # The latter of no host's name.
        said = getattr(error, "strerror", None) or error
        raise UserError(
            "`host` and `port` must be an address of this machine that is "
            f"free ({said}). Received: --host={host} --port={port}"
        ) from error
    # Connections inherit it. Without, a client that delays its acknowledgements
    # waits 40 ms for the second part of each answer.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _url(address, listener):
    port = listener.getsockname()[1]
    return f"http://{f'[{address}]' if ':' in address else address}:{port}/"
