"""The bar that long work shows: speed and time left."""


def bar(what, total, unit=" pictures", show=True):
    """Returns a `tqdm` bar; `update(count)` moves it, `close` ends it.

    Args:
        what: Name of the work.
        total: Units of the whole work.
        unit: What is counted.
        show: Whether to show it at all.
    """
    import tqdm

    return tqdm.tqdm(
        desc=what,
        total=total,
        unit=unit,
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
