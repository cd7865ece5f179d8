"""The bar that long work shows: speed and time left."""

import time

from sngan_tf import errors


def bar(what, total, unit=" pictures", show=True, initial=0):
    """Returns a `tqdm` bar; `update(count)` moves it, `close` ends it.

    Args:
        what: Name of the work.
        total: Units of the whole work.
        unit: What is counted.
        show: Whether to show it at all.
        initial: Units that were done before.
    """
    with errors.extra("train"):
        import tqdm

    class Bar(tqdm.tqdm):
        # tqdm goes by the time of day, which may jump.
        _time = staticmethod(time.monotonic)

        def __setattr__(self, name, value):
            if name != "_time":
                super().__setattr__(name, value)

    return Bar(
        desc=what,
        total=total,
        unit=unit,
        initial=initial,
        mininterval=1.0,
        dynamic_ncols=True,
        disable=not show,
    )


def over(items, what, total, unit=" pictures", show=True):
    """Yields the items, one unit of the bar each."""
    with bar(what, total, unit, show) as shown:
        for item in items:
            yield item
            shown.update()
