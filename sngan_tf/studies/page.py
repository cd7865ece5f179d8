"""Tables within a Markdown page that people write."""

import re

from sngan_tf import files
from sngan_tf.errors import UserError


def fill(page, tables):
    """Puts tables in their places, `<!-- table NAME -->` to `<!-- end -->`.

    Args:
        page: The file; what it has no place for is left out.
        tables: `{name: lines}`.

    Returns:
        The path in a list, empty if the page has no place for any.

    Raises:
        UserError: On a place without end, or if the disk refuses.
    """
    if not page.is_file():
        return []
    text = before = page.read_text()
    places = 0
    for name, lines in tables.items():
        start = f"<!-- table {name} -->\n"
        if start not in text:
            continue
        found = re.search(f"{re.escape(start)}(.*?)<!-- end -->", text, re.S)
        if not found:
            raise UserError(f"{page} must end the table {name} by <!-- end -->")
        body = "\n".join(["", *lines, "", ""])
        text = text[: found.start(1)] + body + text[found.end(1) :]
        places += 1
    if text != before:
        files.write_text(page, text)
    return [page] if places else []
