"""A page on one run, or on several side by side: one HTML file, no script.

It asks for no other file and no network, so that it can be kept and sent.
"""

import dataclasses
import datetime
import functools
import os
import pathlib

from sngan_tf import errors
from sngan_tf import files
from sngan_tf import machine
from sngan_tf.runs import charts
from sngan_tf.runs import checkpoint
from sngan_tf.runs import evolution
from sngan_tf.runs import fields
from sngan_tf.runs import scoreboard
from sngan_tf.runs import spectra
from sngan_tf.runs import summary
from sngan_tf.runs import workdir as workdir_lib

with errors.extra("train"):
    import jinja2

_TEMPLATES = pathlib.Path(__file__).parent / "templates"
# Of the animations of all runs together.
_MOST_BYTES = 1_500_000
# What `train.jsonl` has of each kernel of the discriminator.
_OF_KERNELS = {
    "spectral_norms": "sigma by u, before normalization",
    "lambdas": "lambda of Eq. 12",
    "gradient_shares": "share of the gradient along u v^T",
}
_SPEED = {
    "images_per_second": "real pictures a second",
    "steps_per_second": "updates a second",
}
_SESSION = {
    "began": "began (UTC)",
    "seconds": "seconds",
    "updates": "updates",
    "devices": "devices",
    "processor": "processor",
    "python": "Python",
    "keras": "Keras",
    "tensorflow": "TensorFlow",
    "numpy": "NumPy",
    "commit": "sngan_tf",
    "onednn": "oneDNN",
}


@dataclasses.dataclass(frozen=True)
class _Run:
    """What a workdir has to tell.

    Attributes:
        name: Its path, of several runs what differs.
        workdir: `workdir.Workdir`.
        values: Its config, flat.
        log: Rows of `train.jsonl`.
        norms: Rows of `spectral_norms.jsonl`.
        scores: Rows of `scores.jsonl`.
        sessions: Rows of `sessions.jsonl`.
    """

    name: str
    workdir: workdir_lib.Workdir
    values: dict
    log: list
    norms: list
    scores: list
    sessions: list


def write(workdirs, path):
    """Writes the page.

    Args:
        workdirs: `workdir.Workdir` of each run.
        path: Of the file.

    Returns:
        The path.

    Raises:
        UserError: If there is no run in one of them, or the disk refuses.
    """
    names = _names([workdir.path for workdir in workdirs])
    runs = [*map(_read, workdirs, names)]
    page = _template().render(
        runs=[run.name for run in runs],
        facts=[_facts(run) for run in runs],
        scores=scoreboard.sections(
            {run.name: run.scores for run in runs},
            {
                run.name: checkpoint.latest_step(run.workdir.best)
                for run in runs
            },
        ),
        evolutions=_evolutions(runs),
        losses=_of_log(runs, _losses(runs)),
        speed=_of_log(runs, _SPEED),
        kernels={run.name: _kernels(run) for run in runs},
        spectra={run.name: [*_spectra(run)] for run in runs},
        config=_config(runs),
        sessions=_sessions(runs),
        made_by=machine.commit(),
        made=f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M}",
    )
    # Names of folders may hold bytes that are no text.
    content = page.encode("utf-8", "replace")
    with errors.writing(path), files.replacing(path) as temporary:
        temporary.write_bytes(content)
    return path


@functools.cache
def _template():
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html")


def _names(paths):
    """Returns what tells folders apart."""
    if len(paths) == 1:
        return [str(paths[0])]
    paths = [path.resolve() for path in paths]
    common = os.path.commonpath([path.parent for path in paths])
    return [str(path.relative_to(common)) for path in paths]


def _read(workdir, name):
    logs = workdir.train_log, workdir.spectral_norms
    return _Run(
        name,
        workdir,
        fields.flat(workdir.own_config().to_dict()),
        *(files.read_rows(log) for log in logs),
        files.read_rows(workdir.scores),
        files.read_rows(workdir.sessions),
    )


def _facts(run):
    """Returns what a run is, in a sentence."""
    values = run.values
    size = values["data.image_size"]
    return (
        f"{values['method']} under the loss {values['loss']}, networks "
        f"{values['network.name']} at {values['network.width']:g} of the "
        f"paper's width, {size} x {size} pixels of {values['data.name']}: "
        f"{summary.reached(run.workdir):,} of {values['updates']:,} updates."
    )


def _of_log(runs, titles):
    """Returns charts of keys of the log, a line for each run."""
    return _drawn(
        charts.chart(
            title, {run.name: charts.pairs(run.log, key) for run in runs}
        )
        for key, title in titles.items()
    )


def _losses(runs):
    """Returns the log's losses: what it has beside speed and kernels."""
    known = {"step", *_SPEED, *_OF_KERNELS}
    found = {key for run in runs for row in run.log for key in row} - known
    return {
        key: key
        for key in sorted(found)
        # A penalty that there is not is 0 throughout.
        if any(row.get(key) for run in runs for row in run.log)
    }


def _evolutions(runs):
    found = {
        run.name: evolution.of(
            run.workdir.samples,
            run.values["data.image_size"],
            _MOST_BYTES // len(runs),
        )
        for run in runs
    }
    return {name: pictures for name, pictures in found.items() if pictures}


def _kernels(run):
    """Returns charts of the discriminator's kernels, a line for each."""
    in_effect = {
        "spectral_norms": "norm in effect, exact",
        "effective_ranks": "effective rank in effect",
    }
    return _drawn(
        charts.chart(title, _by_kernel(rows, key))
        for rows, titles in ((run.norms, in_effect), (run.log, _OF_KERNELS))
        for key, title in titles.items()
    )


def _by_kernel(rows, key):
    rows = [row for row in rows if key in row]
    names = dict.fromkeys(name for row in rows for name in row[key])
    return {
        name: [(r["step"], r[key][name]) for r in rows if name in r[key]]
        for name in names
    }


def _spectra(run):
    """Yields a chart and a table of each network that was measured."""
    found = spectra.read(run.workdir.spectra)
    step = found.get("step")
    for name, network in found.get("networks", {}).items():
        title = f"{name}, update {step:,}" if step is not None else name
        yield {
            "title": f"{title}: {summary.constant(network)}",
            "chart": charts.chart(
                f"singular values of the {name}, the largest as 1",
                {
                    kernel: _shares(measured["singular_values"])
                    for kernel, measured in network["kernels"].items()
                },
                x_label="number, as a share of all",
            ),
            "header": summary.SPECTRA_HEADER,
            "lines": [*summary.spectra_rows(network)],
        }


def _shares(values):
    return [
        ((i + 1) / len(values), value / (values[0] or 1.0))
        for i, value in enumerate(values)
    ]


def _config(runs):
    """Returns lines of field, default and values; first what is not both.

    That is what differs between the runs, and then what differs from the
    default; all of them are in `all`.
    """
    lines = []
    for field in fields.FIELDS:
        values = [run.values[field.name] for run in runs]
        defaults = [
            run.values[field.follows] if field.follows else field.default
            for run in runs
        ]
        shown = f"as {field.follows}" if field.follows else field.default
        changed = [_said(a) != _said(b) for a, b in zip(values, defaults)]
        lines.append(
            {
                "name": field.name,
                "meaning": field.meaning,
                "default": _said(shown),
                "values": [*map(_said, values)],
                "differs": len({*map(_said, values)}) > 1,
                "changed": any(changed),
            }
        )
    first = [line for line in lines if line["differs"]]
    then = [x for x in lines if x["changed"] and not x["differs"]]
    return {"chosen": first + then, "all": lines}


def _said(value):
    if isinstance(value, (tuple, list)):
        return ", ".join(map(str, value)) or "()"
    return str(value) if value != "" else '""'


def _sessions(runs):
    """Returns header and lines: when each run was trained, and by what."""
    lines = []
    for run in runs:
        for row in run.sessions:
            updates = f"{row.get('start')} to {row.get('step')}"
            row = {**row, "updates": updates}
            cells = [str(row.get(key, "")) for key in _SESSION]
            lines.append([run.name, *cells])
    return {"header": ["run", *_SESSION.values()], "lines": lines}


def _drawn(found):
    return [chart for chart in found if chart]
