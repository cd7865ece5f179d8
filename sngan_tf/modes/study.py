"""`--mode=study`: a grid of trainings, its table, and what is drawn of it."""

import pathlib

from sngan_tf import errors
from sngan_tf.modes import evaluate as evaluate_mode
from sngan_tf.modes import train as train_mode
from sngan_tf.runs import build
from sngan_tf.runs import figures
from sngan_tf.studies import page as page_lib
from sngan_tf.studies import results as results_lib
from sngan_tf.studies import runner
from sngan_tf.studies import study as study_lib

FOLDER = pathlib.Path("docs/results")
PAGE = pathlib.Path("docs/results.md")


def study(config, folder, cells="", command="", to=FOLDER, page=PAGE):
    """Runs the cells of a study that its table does not have yet, and draws.

    Each is an ordinary run in a folder of its own, taken up where it was
    stopped. Any number of processes may do this at once, each with a share or
    all with the whole: a cell that another is at is passed over. One that comes
    to numbers that are not finite is a result like others.

    Args:
        config: Of all cells, with the `Study` as `study`.
        folder: Of the cells' folders.
        cells: Which, as `study.chosen` has it.
        command: The command line but for the cells, for the table.
        to: Folder of the table and the figures.
        page: As of `draw`.

    Returns:
        The path of the table.

    Raises:
        UserError: On a cell that can't be run, before the first is; after the
            last, if some ended in other errors than numbers.
        Interrupted: After SIGTERM or Ctrl-C; what the cell reached is saved.
    """
    chosen = study_lib.chosen(config.study.cells, cells)
    for cell in chosen:
        with errors.as_user_error(f"{cell.name}: "):
            build.check(cell.config(config))
    table = results_lib.Results(
        to / f"{config.study.name}.csv",
        config.study.factors,
        [cell.name for cell in config.study.cells],
    )
    runner.Runner(
        config,
        pathlib.Path(folder),
        table,
        command,
        train_mode.train,
        evaluate_mode.evaluate,
    ).run(chosen)
    draw(config.study, to, page)
    return table.path


def draw(of, to=FOLDER, page=PAGE):
    """Draws figures and tables of a `Study` from its rows alone.

    Args:
        of: The study.
        to: Folder of its table, and of the figures.
        page: A Markdown file, in which tables of the study have a place.

    Returns:
        The paths of what was drawn.
    """
    table = to / f"{of.name}.csv"
    rows = results_lib.read(table)
    if not rows:
        return []
    paths = []
    for name, function in of.figures.items():
        paths.append(to / f"{of.name}_{name}.png")
        figures.save(paths[-1], function(rows), results_lib.digest(table))
    tables = {
        f"{of.name} {name}": function(rows)
        for name, function in of.tables.items()
    }
    return paths + page_lib.fill(page, tables)
