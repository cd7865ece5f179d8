"""What `peers.py` found, as tables: functions of its rows alone.

A row is of a cell, what it was measured on and by whom, or of a turn:

    {"cell": ..., "machine": ..., "entries": {contestant: what was built}}
    {"cell": ..., "round": ..., "contestant": ..., "steps": ..., "seconds": ...}

Turns are in the order in which they were taken. A ratio is the seconds of a
turn over the mean of the two turns of `ours` before and after it.
"""

import statistics

import contestants
import machine

# What `ours` takes over the best PyTorch, at most.
PEER_TARGETS = {"full": 1.0, "quarter": 0.8, "digits": 0.65, "resnet": 1.0}
# And over no normalization.
NORMALIZATION_TARGETS = {"full": 1.01, "quarter": 1.03}
# Share of the matrix product's rate, at least.
SHARE_TARGETS = {"full": 0.95}


class Cell:
    """The rows of a cell, with what follows from them.

    Attributes:
        name: Of the cell.
        header: Its row of what was measured.
        seconds: `{contestant: list}`, of a step.
        ratios: The same, over `ours`.
    """

    def __init__(self, name, rows):
        self.name = name
        (self.header,) = (row for row in rows if "entries" in row)
        turns = [row for row in rows if "seconds" in row]
        self.seconds, self.ratios = {}, {}
        for i, row in enumerate(turns):
            who = row["contestant"]
            self.seconds.setdefault(who, []).append(row["seconds"])
            if who != contestants.OURS:
                beside = [turns[j]["seconds"] for j in (i - 1, i + 1)]
                self.ratios.setdefault(who, []).append(
                    row["seconds"] / statistics.mean(beside)
                )

    def ratio(self, name):
        """Returns the median ratio of a contestant, 1 for `ours`."""
        if name == contestants.OURS:
            return 1.0
        return statistics.median(self.ratios[name])

    def rate(self):
        """Returns the matrix product's rate in GFLOP/s, None if not taken."""
        if contestants.PRODUCT not in self.seconds:
            return None
        seconds = statistics.median(self.seconds[contestants.PRODUCT])
        return self._flop(contestants.PRODUCT) / seconds / 1e9

    def share(self, name):
        """Returns a contestant's rate over the matrix product's, or None."""
        flop = self._flop(name)
        if flop is None or contestants.PRODUCT not in self.ratios:
            return None
        product = self._flop(contestants.PRODUCT)
        return (
            flop / product * self.ratio(contestants.PRODUCT) / self.ratio(name)
        )

    def best_torch(self):
        """Returns the fastest step in PyTorch, None if there is none."""
        names = [name for name in self.ratios if contestants.is_torch(name)]
        return min(names, key=self.ratio, default=None)

    def _flop(self, name):
        if contestants.CONTESTANTS[name].same_step:
            name = contestants.OURS
        return self.header["entries"][name]["flop"]


def by_cell(rows):
    """Returns a `Cell` for each that the rows are of, in their order."""
    names = dict.fromkeys(row["cell"] for row in rows)
    return [
        Cell(name, [row for row in rows if row["cell"] == name])
        for name in names
    ]


def targets(cells):
    """Returns rows `(cell, what, rule, found, whether met)`."""
    found = []
    for cell in cells:
        if best := cell.best_torch():
            what = f"ours over the best PyTorch ({best})"
            found.append(_at_most(PEER_TARGETS, cell, what, best))
        if "none" in cell.ratios:
            what = "ours over no normalization"
            found.append(_at_most(NORMALIZATION_TARGETS, cell, what, "none"))
        share, limit = (
            cell.share(contestants.OURS),
            SHARE_TARGETS.get(cell.name),
        )
        if share is not None and limit is not None:
            what, rule = "share of the rate", f"at least {limit:.2f}"
            row = (cell.name, what, rule, f"{share:.3f}", share >= limit)
            found.append(row)
    return [row for row in found if row]


def _at_most(limits, cell, what, name):
    if cell.name not in limits:
        return None
    limit, ratio = limits[cell.name], 1 / cell.ratio(name)
    rule = f"at most {limit:.2f}"
    return cell.name, what, rule, f"{ratio:.3f}", ratio <= limit


def markdown(cells):
    """Returns the page of all cells."""
    lines = [
        "# Beside its peers",
        "",
        "Written by `python benchmarks/peers.py`; raw numbers in "
        "[peers.jsonl](peers.jsonl), how it was measured in "
        "[speed.md](speed.md).",
        "",
        "| cell | | target | found | |",
        "|---|---|---|---|---|",
    ]
    for name, what, rule, found, met in targets(cells):
        said = "met" if met else "not met"
        lines.append(f"| {name} | {what} | {rule} | {found} | {said} |")
    for cell in cells:
        lines += ["", *_cell(cell)]
    return "\n".join(lines) + "\n"


def _cell(cell):
    fields = cell.header["fields"]
    rate = cell.rate()
    flop = cell.header["entries"][contestants.OURS]["flop"]
    yield f"## {cell.name}"
    yield ""
    yield (
        f"Networks `{fields['network']}`, {fields['image_size']} pixels, "
        f"{fields['channels']} channels, width {fields['width']:g}, batch "
        f"{fields['batch_size']}, {fields['generator_batch_size']} for the "
        f"generator, n_dis {fields['discriminator_steps']}, "
        f"{cell.header['threads']} threads; "
        f"{flop / 1e9:.1f} GFLOP a step. {machine.line(cell.header['machine'])}"
        + (f"; matrix product {rate:.1f} GFLOP/s." if rate else ".")
    )
    yield ""
    yield "| | ms a step | over ours | share of the rate | |"
    yield "|---|---|---|---|---|"
    for name in cell.seconds:
        share = cell.share(name)
        ratios = cell.ratios.get(name)
        text = contestants.CONTESTANTS[name].text
        note = cell.header["entries"][name]["note"]
        columns = (
            name,
            _spread([1e3 * x for x in cell.seconds[name]], 1),
            _spread(ratios, 3) if ratios else "1",
            "" if share is None else f"{share:.2f}",
            f"{text} ({note})" if note else text,
        )
        yield "| " + " | ".join(columns) + " |"
    for name, entry in cell.header["entries"].items():
        if "reason" in entry:
            text = contestants.CONTESTANTS[name].text
            yield f"| {name} | left out: {entry['reason']} | | | {text} |"


def _spread(values, digits):
    """Returns the median, with the quartiles where there are enough."""
    median = f"{statistics.median(values):.{digits}f}"
    if len(values) < 2:
        return median
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{median} ({low:.{digits}f}-{high:.{digits}f})"
