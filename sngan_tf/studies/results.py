"""The table of a study: a `.csv` file, one row for each score of a cell."""

import csv
import hashlib
import io
import math

from sngan_tf import files
from sngan_tf.errors import UserError

FAILED = "failed"  # The row that a cell ends with, 1 or 0.
_NUMBERS = (
    "seed",
    "step",
    "value",
    "std",
    "num_real",
    "num_fake",
    "updates",
    "seconds",
    "gflops",
)
_COLUMNS = (
    "seed",
    "step",
    "metric",
    "value",
    "std",
    "values",
    "protocol",
    "num_real",
    "num_fake",
    "reference",
    "features",
    "resize",
    "updates",
    "seconds",
    "gflops",
    "commit",
    "command",
    "note",
)


class Results:
    """Rows of a study, on disk.

    What stands in a row: the cell and its factors, seed and step; metric,
    `value` and `std`, or in `values` a list; what a score was measured on,
    as in `scores.jsonl`; and of the whole cell updates, seconds of work, the
    machine's rate of a matrix product in GFLOP/s, commit and command.

    Args:
        path: Of the `.csv` file.
        factors: Names of the cells' factors, columns of their own.
        cells: Names of the cells, in the order of their rows; those of others
            come first.
    """

    def __init__(self, path, factors, cells=()):
        self.path = path
        self._order = {cell: number for number, cell in enumerate(cells)}
        self._columns = ("cell", *factors, *_COLUMNS)

    def read(self):
        """Returns the rows, numbers as such, none without a file."""
        return read(self.path)

    def done(self, updates):
        """Returns the names of cells that came to their end.

        Args:
            updates: `{name: updates}` that each is to be trained for; rows of
                as many count, and those of a cell that failed before.
        """
        return {
            row["cell"]
            for row in self.read()
            if row["metric"] == FAILED
            and (row["value"] or row["updates"] == updates.get(row["cell"]))
        }

    def add(self, cell, rows):
        """Puts rows of a cell in the place of those that it has.

        Several processes may, at once.

        Raises:
            UserError: If the disk refuses.
        """
        with files.one_writer(self.path):
            kept = [row for row in self.read() if row["cell"] != cell]
            text = io.StringIO()
            writer = csv.DictWriter(
                text, self._columns, lineterminator="\n", extrasaction="raise"
            )
            writer.writeheader()
            rows = sorted(
                [*kept, *rows], key=lambda r: self._order.get(r["cell"], -1)
            )
            writer.writerows(map(_written, rows))
            files.write_text(self.path, text.getvalue())


def failed(has, note):
    """Returns the row that a cell ends with.

    Args:
        has: Whether its numbers became other than finite.
        note: What was said of it.
    """
    return {"metric": FAILED, "value": float(has), "note": note}


def read(path):
    """Returns the rows of a table, numbers as such, none without a file.

    Raises:
        UserError: If it is no such table.
    """
    if not path.is_file():
        return []
    try:
        with path.open(newline="") as file:
            return [_parsed(row) for row in csv.DictReader(file)]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} must be a table of a study. Received: {error}"
        ) from error


def digest(path):
    """Returns a hash of a table, which figures that are drawn of it bear."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _parsed(row):
    row = dict(row)
    if None in row or None in row.values():  # Where `csv` has it all the same.
        raise ValueError(f"a row of more or fewer cells, of {row['cell']}")
    for name in _NUMBERS:
        row[name] = float(row[name]) if row[name] else None
    row["values"] = [*map(float, row["values"].split())]
    return row


def _written(row):
    """Returns a row as text, numbers to 6 digits."""
    row = {
        key: value
        for key, value in row.items()
        if value is not None and value != []
    }
    for name in {*_NUMBERS} & row.keys():
        row[name] = _digits(row[name], 6)
    if "values" in row:
        row["values"] = " ".join(_digits(x, 4) for x in row["values"])
    return row


def _digits(value, digits):
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return f"{value:.{digits}g}" if value != int(value) else str(int(value))
