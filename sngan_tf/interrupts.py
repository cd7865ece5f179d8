"""SIGTERM and Ctrl-C, put off until a run can stop."""

import contextlib
import signal
import threading

from sngan_tf.errors import Interrupted

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupts:
    """A context in which these signals are kept instead of acted on.

    A second one is acted on at once. Outside the main thread, which alone gets
    signals, nothing is changed.

    Attributes:
        received: Number of the signal that was kept, 0 for none.
    """

    def __init__(self):
        self.received = 0
        self._put_off = True
        self._handlers = {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            self._handlers = {
                number: signal.signal(number, self._keep) for number in _SIGNALS
            }
        return self

    def __exit__(self, *error):
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def acted_on(self):
        """A context that a signal, also one that was kept, ends at once."""
        self._put_off = False
        try:
            if not self.received:
                yield
        except Interrupted:
            pass
        finally:
            self._put_off = True

    def _keep(self, number, frame):
        again = self.received
        self.received = number
        if again or not self._put_off:
            raise Interrupted(number)
