"""The bar over pictures being read."""


def bar(items, total, show):
    """Returns `items`, with a progress bar if `show`."""
    import tqdm

    return tqdm.tqdm(
        items, "pictures", total, disable=not show, unit=" pictures"
    )
