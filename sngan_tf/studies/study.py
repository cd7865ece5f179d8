"""What a study is."""

import dataclasses
import itertools
import re
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from sngan_tf.errors import UserError
from sngan_tf.runs import fields


@dataclasses.dataclass(frozen=True)
class Cell:
    """One run of a study.

    Attributes:
        name: Of the cell and its folder, such as `spectral_norm-C-0`.
        factors: What it is among the others, `{factor: level}`, as text.
        overrides: Fields that differ from the study's own config,
            `{name: value}`; the seed is one of them.
    """

    name: str
    factors: dict[str, str]
    overrides: dict[str, Any]

    def config(self, common: Any) -> Any:
        """Returns the config of the run, a new one.

        Args:
            common: The study's.
        """
        values = fields.flat(common.to_dict())
        values.pop("study", None)
        return fields.config_of(values | self.overrides)


@dataclasses.dataclass(frozen=True)
class Study:
    """A grid of runs, and what becomes of it.

    Attributes:
        name: Of the table, and of what is drawn.
        cells: Tuple of `Cell`, in the order in which they are run.
        measures: Functions of `measures` that add to the scores; each takes a
            run's `Workdir` and config, and returns rows.
        figures: `{name: function}` of `figures`, from rows to a figure.
        tables: `{name: function}` of `tables`, from rows to lines of text.
    """

    name: str
    cells: tuple[Cell, ...]
    measures: tuple[Callable, ...] = ()
    figures: dict[str, Callable] = dataclasses.field(default_factory=dict)
    tables: dict[str, Callable] = dataclasses.field(default_factory=dict)

    @property
    def factors(self) -> list[str]:
        """The names of the cells' factors, in order."""
        return [*dict.fromkeys(name for x in self.cells for name in x.factors)]


def grid(
    seeds: int | Iterable[int], **factors: Mapping[Any, Mapping[str, Any]]
) -> tuple[Cell, ...]:
    """Returns a `Cell` for each combination of levels, once for each seed.

    Seeds change last, so that a grid that was stopped has all of the first.

    Args:
        seeds: Their number, or the seeds.
        **factors: Of each, `{level: overrides}`.
    """
    seeds = range(seeds) if isinstance(seeds, int) else seeds
    return tuple(
        Cell(
            "-".join([*map(str, chosen), str(seed)]),
            {key: str(level) for key, level in zip(factors, chosen)},
            _merged(f[level] for f, level in zip(factors.values(), chosen))
            | {"seed": seed},
        )
        for seed in seeds
        for chosen in itertools.product(*factors.values())
    )


def by_seed(cells: Iterable[Cell]) -> tuple[Cell, ...]:
    """Returns cells of several grids as one, seeds changing last."""
    return tuple(sorted(cells, key=lambda cell: cell.overrides["seed"]))


def _merged(overrides):
    merged = {}
    for some in overrides:
        merged |= some
    return merged


def chosen(cells: Sequence[Cell], text: str) -> list[Cell]:
    """Returns the cells that `--cells` names, in order.

    Args:
        cells: All of them.
        text: `K/N`, the K-th of N shares, from 1; names, with commas; or
            empty for all.

    Raises:
        UserError: On anything else.
    """
    if not text:
        return [*cells]
    if share := re.fullmatch(r"(\d+)/(\d+)", text):
        number, count = map(int, share.groups())
        if 1 <= number <= count:
            return [*cells[number - 1 :: count]]
    known = {cell.name: cell for cell in cells}
    names = text.split(",")
    if known.keys() >= {*names}:
        return [known[name] for name in names]
    unknown = next((name for name in names if name not in known), text)
    raise UserError(
        "`cells` must be K/N, the K-th of N shares, 1 <= K <= N, or names such "
        f"as {', '.join([*known][:3])}. Received: --cells={unknown}"
    )
