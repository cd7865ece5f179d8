"""The bar that long work shows: speed and time left."""

import contextlib
import contextvars
import time

from sngan_tf import errors

_hidden = contextvars.ContextVar("hidden", default=False)


@contextlib.contextmanager
def hidden():
    """A context in which no new bar is shown, as within a longer work's."""
    token = _hidden.set(True)
    try:
        yield
    finally:
        _hidden.reset(token)


def bar(what, total, unit=" pictures", show=True, initial=0):
    """Returns a `tqdm` bar; `update(count)` moves it, `close` ends it.

    Its rate and time left are told from the second update on: the first may
    trace a graph, which is no measure of the others.

    Args:
        what: Name of the work.
        total: Units of the whole work.
        unit: What is counted, many of them, after a space.
        show: Whether to show it at all.
        initial: Units that were done before.
    """
    with errors.extra("train"):
        import tqdm

    class Bar(tqdm.tqdm):
        # tqdm goes by the time of day, which may jump.
        _time = staticmethod(time.monotonic)
        _first = None

        def __setattr__(self, name, value):
            if name != "_time":
                super().__setattr__(name, value)

        def update(self, n=1):
            if self.disable or self._first or n <= 0:
                return super().update(n)
            # The first unit may trace a graph; the rate counts from here.
            self.n += n
            self.last_print_n, self.last_print_t = self.n, self._time()
            self._first = self.last_print_n, self.last_print_t
            return self.refresh()

        @property
        def format_dict(self):
            fields = super().format_dict
            if not fields["rate"]:
                fields["rate"] = self._mean_rate()
            if 0 < (fields["rate"] or 0) < 1:
                fields["unit"] = one
            return fields

        def _mean_rate(self):
            n, began = self._first or (self.n, 0.0)
            seconds = self._time() - began
            return (self.n - n) / seconds if seconds > 0 else 0.0

    one = unit.strip().removesuffix("s")
    return Bar(
        desc=what,
        total=total,
        unit=unit,
        initial=initial,
        mininterval=1.0,
        dynamic_ncols=True,
        disable=not show or _hidden.get(),
    )


def over(items, what, total, unit=" pictures", show=True):
    """Yields the items, one unit of the bar each."""
    with bar(what, total, unit, show) as shown:
        for item in items:
            yield item
            shown.update()
