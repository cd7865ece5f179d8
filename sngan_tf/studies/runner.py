"""Runs the cells of a study and keeps their rows."""

import contextlib
import gc
import logging

import keras

from sngan_tf import errors
from sngan_tf import files
from sngan_tf import machine
from sngan_tf import progress
from sngan_tf.runs import build
from sngan_tf.runs import callbacks
from sngan_tf.runs import scoring
from sngan_tf.runs import workdir as workdir_lib
from sngan_tf.studies import results

_LOGGER = logging.getLogger(__name__)


class Runner:
    """Runs the cells of a study, as one process of perhaps several.

    Args:
        config: Of all cells, with the `Study` as `study`.
        folder: Of the cells' folders.
        table: `results.Results`, which gets their rows.
        command: The command line but for the cells.
        train: `modes.train.train`.
        evaluate: `modes.evaluate.evaluate`.
    """

    def __init__(self, config, folder, table, command, train, evaluate):
        self._config = config
        self._study = config.study
        self._configs = {
            cell.name: cell.config(config) for cell in self._study.cells
        }
        self._folder = folder
        self._table = table
        self._command = command
        self._train = train
        self._evaluate = evaluate
        self._data = {}
        self._of_machine = None

    def run(self, chosen):
        """Runs those cells that have no rows yet, under one bar.

        Raises:
            UserError: At the end, on cells that broke.
        """
        left = self._left(chosen)
        if not left:
            return
        build.set_up(self._config)
        _, rate = machine.rate(machine.products()["numpy"], repeats=3)
        self._of_machine = {"gflops": rate, "commit": machine.commit()}
        work = {cell.name: self._work(cell) for cell in chosen}
        total = sum(work.values())
        reached = total - sum(work[cell.name] for cell in left)
        broken = {}
        name = f"{self._study.name}, {len(chosen)} cells"
        with progress.bar(name, total, " updates", initial=reached) as bar:
            for cell in left:
                if self._left([cell]):
                    bar.set_postfix_str(cell.name)
                    with progress.hidden(), _quiet():
                        try:
                            self._run(cell, _Moved(bar, reached))
                        except errors.InUse:
                            pass  # Another process is at it.
                        except Exception as error:
                            broken[cell.name] = errors.first_line(error)
                            _LOGGER.warning("%s: %s", cell.name, error)
                    _forget_graphs()
                reached += work[cell.name]
                bar.update(reached - bar.n)
        if broken:
            name, message = next(iter(broken.items()))
            raise errors.UserError(
                f"{len(broken)} of {len(chosen)} cells could not be run, so "
                f"that the table lacks them; the first, {name}: {message}"
            )

    def _left(self, cells):
        updates = {name: c.updates for name, c in self._configs.items()}
        done = self._table.done(updates)
        return [cell for cell in cells if cell.name not in done]

    def _work(self, cell):
        """Returns the discriminator updates of a cell, what it costs."""
        config = self._configs[cell.name]
        return config.updates * config.discriminator_steps

    def _run(self, cell, show):
        config = self._configs[cell.name]
        run = workdir_lib.Workdir(self._folder / cell.name)
        pictures, make_scorer = self._loaded(config)
        steps = config.discriminator_steps
        shown = callbacks.Every(
            config.log_every, lambda step: show(step * steps)
        )
        note = ""
        try:
            self._train(config, run, pictures, make_scorer, [shown])
            if config.evaluation.protocol != "quick":
                self._evaluate(config, run)
        except errors.Diverged as error:
            note = errors.first_line(error)
        rows = _portable(files.read_rows(run.scores), config)
        for measure in self._study.measures:
            rows += measure(run, config)
        reached = [row["step"] for row in files.read_rows(run.train_log)]
        self._add(
            cell.name,
            {
                **cell.factors,
                "seed": config.seed,
                "updates": max(reached, default=0) if note else config.updates,
                "seconds": sum(
                    row["seconds"] for row in files.read_rows(run.sessions)
                ),
            },
            [*rows, results.failed(bool(note), note)],
        )

    def _loaded(self, config):
        """Returns pictures and the maker of their scorer, loaded once.

        Real pictures are scored too, as a cell of their own.
        """
        key = str((config.data, config.evaluation))
        if key not in self._data:
            pictures = build.pictures(config)
            make = scoring.maker(config, pictures, "quick")
            self._data[key] = pictures, make
            if make:
                rows = _portable(make().real(0), config)
                side = config.data.image_size
                name = f"real {rows[0]['reference']}, {side} pixels"
                values = {"seed": 0, "updates": 0, "seconds": 0}
                self._add(name, values, rows)
        return self._data[key]

    def _add(self, cell, values, rows):
        values |= self._of_machine
        values["command"] = self._command
        if cell in self._configs:
            values["command"] += f" --cells={cell}"
        self._table.add(cell, [{"cell": cell, **row, **values} for row in rows])


def _portable(rows, config):
    """Returns scores with folders as the config names them."""
    name = config.data.name
    return [
        {**row, "reference": name}
        if row["reference"].startswith("folder:")
        else row
        for row in rows
    ]


class _Moved:
    """Moves a bar to what a cell has reached.

    Args:
        bar: Of the whole grid.
        origin: Where it stands at the beginning of the cell.
    """

    def __init__(self, bar, origin):
        self._bar = bar
        self._origin = origin

    def __call__(self, count):
        self._bar.update(self._origin + count - self._bar.n)


@contextlib.contextmanager
def _quiet():
    """A context in which warnings alone are said."""
    logger = logging.getLogger("sngan_tf")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _forget_graphs():
    # Those of trainings that are done would fill the memory.
    keras.backend.clear_session()
    gc.collect()
