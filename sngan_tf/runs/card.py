"""Model cards: what a generator is, from the records of its run.

The fields of the front matter are those that Hugging Face reads.
"""

import dataclasses
import json
import pathlib

from sngan_tf import files
from sngan_tf.errors import UserError
from sngan_tf.runs import fields
from sngan_tf.runs import summary

_PAPER = "[Miyato et al., 2018](https://arxiv.org/abs/1802.05957)"
_PAPER_UPDATES = 100_000


@dataclasses.dataclass(frozen=True)
class DataSet:
    """What a card says of the pictures that a generator was trained on.

    Attributes:
        name: As Hugging Face calls it.
        title: In words.
        terms: Where they are from, and under which terms.
        license: Of the weights.
    """

    name: str
    title: str
    terms: str
    license: str = "apache-2.0"


DATA_SETS = {
    "digits": DataSet(
        "digits",
        "handwritten digits",
        "The 1,797 digits that come with scikit-learn, of 8 x 8 pixels before "
        "they were enlarged: its copy of the test set of Optical Recognition "
        "of Handwritten Digits, by E. Alpaydin and C. Kaynak (UCI Machine "
        "Learning Repository, 1998, https://doi.org/10.24432/C50P49), under "
        "CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/).",
    ),
    "cifar10": DataSet(
        "uoft-cs/cifar10",
        "CIFAR-10",
        "CIFAR-10, by A. Krizhevsky (Learning Multiple Layers of Features from "
        "Tiny Images, 2009). Its authors state no licence; it is in use for "
        "research. It is a labelled part of 80 Million Tiny Images, pictures "
        "gathered from the web, which their gatherers withdrew in 2020.",
    ),
}


def text(run, checkpoint, step, usage, data="", note=""):
    """Returns the card of a run's generator, Markdown with front matter.

    No folder is named by more than its last part.

    Args:
        run: `workdir.Workdir`.
        checkpoint: `"last"` or `"best"`, which the generator is of.
        step: The update that it is of.
        usage: Markdown, how to load and call it.
        data: Key of `DATA_SETS`, of what the pictures are; empty for what
            the run calls them, whose terms are left to be filled in if they
            are none of these.
        note: Sentence on these very pictures, such as of another encoding.

    Raises:
        UserError: On another key, or if there is no run.
    """
    config = run.own_config()
    about = _data_set(config, data)
    rows = [
        row
        for row in files.read_rows(run.scores)
        if row["step"] == step or summary.is_real(row)
    ]
    sections = {
        "Use": usage,
        "Training": _training(config, checkpoint, step),
        "Scores": _scores(rows),
        "Data": " ".join(filter(None, (about.terms, note))),
        "What it is not": _limits(config, step, rows),
    }
    parts = [
        _front_matter(about, rows),
        f"# SN-GAN of {about.title}",
        _summary(config),
        *(f"## {title}\n\n{words}" for title, words in sections.items()),
    ]
    return "\n\n".join(parts) + "\n"


def _data_set(config, key):
    key = key or config.data.name
    if key in DATA_SETS:
        return DATA_SETS[key]
    if key != config.data.name:
        raise UserError(
            f"`data` must be one of {', '.join(DATA_SETS)}. "
            f"Received: data={key}"
        )
    name = _without_folder(key)
    terms = f"{name}, the terms of which are to be filled in."
    return DataSet(name, name, terms, license="unknown")


def _front_matter(about, rows):
    metrics = dict.fromkeys(r["metric"] for r in rows if not summary.is_real(r))
    lists = {
        "tags": ("image-generation", "gan", "spectral-normalization"),
        "datasets": (about.name,),
        "metrics": metrics,
    }
    lines = ["---", f"license: {about.license}", "library_name: keras"]
    for key, values in lists.items():
        lines.append(f"{key}:" if values else f"{key}: []")
        # Folders have names of any kind, which are YAML as JSON has them.
        lines += [f"- {json.dumps(value)}" for value in values]
    return "\n".join([*lines, "---"])


def _summary(config):
    data, network = config.data, config.network
    colour = "gray" if data.channels == 1 else "colour"
    average = ", averaged over updates" if config.average_decay else ""
    return (
        f"A generator of {colour} pictures of {data.image_size} x "
        f"{data.image_size} pixels{average}, and its discriminator: the "
        f"networks `{network.name}` of {_PAPER} at {network.width:g} of their "
        f"width, the method `{config.method}`, the loss `{config.loss}`."
    )


def _training(config, checkpoint, step):
    which = "the last checkpoint"
    if checkpoint == "best":
        which = f"the best checkpoint by {config.evaluation.best}"
    values = fields.flat(config.to_dict())
    values["start_from"] = _last_part(values["start_from"])
    lines = [
        f"{field.name}={_without_folder(values[field.name])}"
        for field in fields.FIELDS
        if not field.free
    ]
    return "\n".join(
        [
            f"{step:,} generator updates, of {which}, by `--mode=train` of "
            "sngan_tf with these fields:",
            "",
            "```text",
            *lines,
            "```",
        ]
    )


def _scores(rows):
    """Returns a table for each protocol, reference and network."""
    tables = []
    for measured, group in summary.by_measure(rows).items():
        protocol, reference, *network = measured
        values = {row["metric"]: row for row in group}
        lines = [
            f"| `{metric}` | {_cells(row, values.get(f'real_{metric}'))} |"
            for metric, row in values.items()
            if not summary.is_real(row)
        ]
        words = summary.caption(protocol, _without_folder(reference), *network)
        heading = [
            f"{words[0].upper()}{words[1:]}.",
            "",
            "| metric | generated | generated / real | real pictures |",
            "|---|---|---|---|",
        ]
        if lines:
            tables.append("\n".join([*heading, *lines]))
    return "\n\n".join(tables) or "There are none."


def _cells(row, real):
    cells = [summary.shown(row), summary.counted(row)]
    if real:
        cells.append(f"{summary.shown(real)} ({summary.counted(real)})")
    else:
        cells.append("")
    return " | ".join(cells)


def _limits(config, step, rows):
    lines = []
    width = config.network.width
    if width < 1 or step < _PAPER_UPDATES:
        lines.append(
            f"Not at the paper's full size: {width:g} of the width, {step:,} "
            f"of {_PAPER_UPDATES:,} updates."
        )
    if any(row["features"].startswith("classifier") for row in rows):
        lines.append(
            "Not scored by Inception: the scores are no IS and no FID, and "
            "compare with those of the same classifier and counts alone."
        )
    lines += [
        "Not examined for copies of pictures that it was trained on, nor for "
        "what these pictures are biased in.",
        "Not a detector: the discriminator tells real pictures from this "
        "generator's, and no others.",
    ]
    return "\n".join(f"- {line}" for line in lines)


def _without_folder(value):
    """Returns what a field or reference says, of a folder its name alone."""
    if isinstance(value, (tuple, list)):
        return ", ".join(value)
    if isinstance(value, str) and value.startswith("folder:"):
        return f"folder:{_last_part(value.removeprefix('folder:'))}"
    return value


def _last_part(path):
    return pathlib.PurePath(path).name
