"""SIGTERM and Ctrl-C, put off until a run can stop."""

import contextlib
import signal
import threading

from sngan_tf.errors import Interrupted
from sngan_tf.gan import step_callback

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def fatal():
    """A context in which these signals end the process as the system does.

    While TensorFlow waits for something, such as another host, Python can't
    act on them.
    """
    with _handled_by(signal.SIG_DFL):
        yield


class Interrupts:
    """A context in which these signals are kept, to be acted on at its end.

    A second one is acted on at once. Outside the main thread, which alone gets
    signals, nothing is changed.

    Attributes:
        received: Number of the signal that was kept, 0 for none.
    """

    def __init__(self):
        self.received = 0
        self._put_off = True
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        self._stack.enter_context(_handled_by(self._keep))
        return self

    def __exit__(self, kind, error, traceback):
        self._stack.close()
        if self.received and error is None:
            raise Interrupted(self.received)

    @contextlib.contextmanager
    def acted_on(self):
        """A context that a signal ends at once; one that was kept, at entry.

        Raises:
            Interrupted: Then; the signal is kept beyond.
        """
        self._put_off = False
        try:
            if self.received:
                raise Interrupted(self.received)
            yield
        finally:
            self._put_off = True

    def _keep(self, number, frame):
        again = self.received
        self.received = number
        if again or not self._put_off:
            raise Interrupted(number)


class StopOnSignal(step_callback.StepCallback):
    """Ends training with `Interrupted` after SIGTERM or Ctrl-C.

    Args:
        interrupts: `Interrupts`, entered.
        save: `(step) -> None`, called before.
        gather: Function of an int to those of all hosts, as any may have got
            the signal; None for a single host.
    """

    def __init__(self, interrupts, save, gather=None):
        super().__init__()
        self.interrupts = interrupts
        self.save = save
        self.gather = gather

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch)
        number = self.interrupts.received
        if self.gather:
            number = max(self.gather(number))
        if number:
            self.save(self.step)
            raise Interrupted(
                number, f"saved after update {self.step}; run again to go on"
            )


@contextlib.contextmanager
def _handled_by(handler):
    # Outside the main thread, which alone gets signals, none can be set.
    here = threading.current_thread() is threading.main_thread()
    signals = _SIGNALS if here else ()
    before = {number: signal.signal(number, handler) for number in signals}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
