"""Line charts for a page: places in a small drawing, and words for the ear.

Plain numbers and paths, which a template draws as SVG, so that colours and
type are those of the page.
"""

import dataclasses
import math

WIDTH, HEIGHT = 360, 218
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 350, 10, 184
_MOST_POINTS = 240
_MOST_TICKS = 5
_LONGEST_LABEL, _LEAST_DECIMAL = 8, 1e-4
# What is larger, of either sign, is as good as not finite.
_LARGEST = 1e100
# Fewer points are marked, as a line through them alone says little.
_FEW_POINTS = 30
_LOG_RATIO = 20
# Styles of lines: colours, each in several dashes.
_COLORS, _DASHES = 6, 3


@dataclasses.dataclass(frozen=True)
class Line:
    """One line.

    Attributes:
        name: Of it.
        style: Classes of colour and dash.
        path: Of SVG.
        points: `(x, y)` of those that are marked.
    """

    name: str
    style: str
    path: str
    points: tuple


@dataclasses.dataclass(frozen=True)
class Chart:
    """What is to be drawn, `WIDTH` by `HEIGHT`.

    Attributes:
        title: In words.
        x_label: What lies along it.
        lines: Of values.
        x_ticks: `(place, label)`.
        y_ticks: `(place, label)`.
        is_log: Whether the scale of the values is logarithmic.
        words: What it shows, for those who don't see it.
        is_shared: Whether names are needed to tell its lines.
    """

    title: str
    x_label: str
    lines: tuple
    x_ticks: tuple
    y_ticks: tuple
    is_log: bool
    words: str
    is_shared: bool

    left, right, top, bottom = _LEFT, _RIGHT, _TOP, _BOTTOM
    width, height = WIDTH, HEIGHT


def pairs(rows, key):
    """Returns `(step, value)` of the rows that have a key."""
    return [(row["step"], row[key]) for row in rows if key in row]


def style(number):
    """Returns the classes of the line of a number, from 0."""
    dash = number // _COLORS % _DASHES
    return f"color-{number % _COLORS} dash-{dash}"


def chart(title, series, x_label="generator updates"):
    """Returns a `Chart`, None without a finite value.

    Values of one sign that lie far apart have a logarithmic scale. Of a long
    series each point is the mean of several.

    Args:
        title: In words.
        series: `{name: [(x, y), ...]}`; a name keeps its style where others
            lack values.
        x_label: What lies along it.
    """
    found = {name: _thinned(_finite(points)) for name, points in series.items()}
    if not any(found.values()):
        return None
    xs = [x for points in found.values() for x, _ in points]
    ys = [y for points in found.values() for _, y in points]
    is_log = min(ys) > 0 and max(ys) > _LOG_RATIO * min(ys)
    across = _Scale(min(xs), max(xs), _LEFT, _RIGHT)
    up = _Scale(min(ys), max(ys), _BOTTOM, _TOP, is_log, margin=0.04)
    lines = [
        _line(name, style(i), points, across, up)
        for i, (name, points) in enumerate(found.items())
        if points
    ]
    return Chart(
        title,
        x_label,
        tuple(lines),
        tuple(across.ticks()),
        tuple(up.ticks()),
        is_log,
        _words(title, x_label, found),
        len(series) > 1,
    )


class _Scale:
    """From values to places.

    Args:
        low: The least value.
        high: The largest.
        start: Place of the least.
        end: Place of the largest.
        is_log: Whether it is logarithmic.
        margin: Share of the range that is added on both sides.
    """

    def __init__(self, low, high, start, end, is_log=False, margin=0.0):
        self._is_log = is_log
        low, high = map(self._of, (low, high))
        if low == high:
            low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
        added = margin * (high - low)
        self._low, self._high = low - added, high + added
        self._start, self._end = start, end

    def _of(self, value):
        return math.log10(value) if self._is_log else value

    def __call__(self, value):
        share = (self._of(value) - self._low) / (self._high - self._low)
        return round(self._start + share * (self._end - self._start), 1)

    def ticks(self):
        """Yields `(place, label)` of round values."""
        for value, decimals in self._round_values():
            if self._low <= self._of(value) <= self._high:
                label = f"{value:,.{decimals}f}"
                is_small = 0 < abs(value) < _LEAST_DECIMAL
                if is_small or len(label) > _LONGEST_LABEL:
                    label = f"{value:.1e}".replace(".0e", "e")
                yield self(value), label

    def _round_values(self):
        """Yields some, and with how many decimals they are said."""
        range_ = self._high - self._low
        if self._is_log:
            every = math.ceil(range_ / _MOST_TICKS)
            first = math.floor(self._low / every) * every
            for decade in range(first, math.ceil(self._high) + 1, every):
                for digit in (1, 2, 5) if range_ < 2 else (1,):
                    yield digit * 10.0**decade, max(0, -decade)
            return
        step = _round_step(range_ / _MOST_TICKS)
        decimals = max(0, -math.floor(math.log10(step)))
        for i in range(int(self._low // step), int(self._high // step) + 1):
            # The sum of many steps would be off in its last digits.
            yield i * step, decimals


def _round_step(least):
    decade = 10.0 ** math.floor(math.log10(least))
    return next(f * decade for f in (1, 2, 5, 10) if f * decade >= least)


def _finite(points):
    return [
        (x, y)
        for x, y in points
        if isinstance(y, (int, float)) and abs(y) < _LARGEST
    ]


def _thinned(points):
    """Returns means of as many neighbours each as leave few enough points."""
    size = math.ceil(len(points) / _MOST_POINTS)
    if size <= 1:
        return points
    parts = [points[i : i + size] for i in range(0, len(points), size)]
    return [tuple(sum(v) / len(v) for v in zip(*part)) for part in parts]


def _line(name, style, points, across, up):
    places = [(across(x), up(y)) for x, y in points]
    path = "M" + "L".join(f"{x:g} {y:g}" for x, y in places)
    marked = places if len(places) <= _FEW_POINTS else ()
    return Line(name, style, path, tuple(marked))


def _words(title, x_label, found):
    said = [f"{title} over {x_label}."]
    for name, points in found.items():
        if points:
            values = [y for _, y in points]
            said.append(
                f"{name}: from {values[0]:.3g} to {values[-1]:.3g}, "
                f"at least {min(values):.3g}, at most {max(values):.3g}."
            )
    return " ".join(said)
