"""The table that ends a command: what a workdir holds, and how good it is."""

import re

from sngan_tf import files
from sngan_tf.gan import serving
from sngan_tf.runs import checkpoint
from sngan_tf.runs import spectra

SPECTRA_HEADER = (
    "kernel",
    "effective rank",
    "norm of the matrix",
    "of the map",
)


def table(workdir):
    """Returns lines of text: what was made, scores by protocol, where to look.

    Scores of different protocols, real pictures or networks stand in tables
    of their own, each under what they were measured on.
    """
    rows = [
        ("training", _training(workdir)),
        ("checkpoints", workdir.checkpoints),
        ("best checkpoint", workdir.best),
        ("TensorBoard", workdir.tensorboard),
        ("samples", workdir.samples),
        ("newest sample", _newest_sample(workdir)),
        ("SavedModel", _saved_model(workdir)),
        ("model card", workdir.exports / "README.md"),
        ("spectra", _spectra(workdir)),
        ("collapsed spectra", _collapsed(workdir)),
    ]
    lines = _found(rows)
    best = checkpoint.latest_step(workdir.best)
    rows = files.read_rows(workdir.scores)
    for measured, scores in by_measure(rows).items():
        lines += ["", caption(*measured), *_score_lines(scores, best)]
    lines += kept_lines(rows)
    for block in (spectra_lines(workdir.spectra), _doors(workdir)):
        lines += ["", *block] if block else []
    return "\n".join(lines).strip()


def _doors(workdir):
    """Returns lines of what to open, and of what serves the generator."""
    serve = serving.newest(workdir.generator) and workdir.command("serve")
    return _found(
        [
            ("pictures", workdir.samples / "evolution.png"),
            ("report", workdir.report),
            ("serve", serve),
        ]
    )


def _found(rows):
    """Returns aligned lines of those rows that there is something of."""
    return _aligned(
        (what, str(where))
        for what, where in rows
        if where and (isinstance(where, str) or where.exists())
    )


def spectra_lines(folder):
    """Returns lines on the first network of a folder of spectra, or none.

    Args:
        folder: Such as `workdir.spectra`.
    """
    networks = spectra.read(folder).get("networks", {})
    if not networks:
        return []
    name, network = next(iter(networks.items()))
    title = f"spectra of the {name}, its {constant(network)}"
    return [title, *_aligned([SPECTRA_HEADER, *spectra_rows(network)])]


def spectra_rows(network):
    """Yields cells under `SPECTRA_HEADER` of each kernel of a network."""
    for kernel, found in network["kernels"].items():
        values, rank = found["singular_values"], found["effective_rank"]
        yield (
            kernel,
            f"{rank:.3g} of {len(values)}",
            f"{values[0]:.4g}",
            _interval(found.get("operator_norm")),
        )


def constant(network):
    """Returns what is known of a network's Lipschitz constant, in words."""
    found = _interval(network.get("lipschitz"))
    if reason := network.get("lipschitz_refused"):
        found = f"not bounded ({reason})"
    return f"Lipschitz constant {found}"


def _training(workdir):
    """Returns the update that was reached, and the last losses of the log."""
    losses = ""
    if log := files.read_rows(workdir.train_log):
        last = log[-1]
        losses = f", d_loss {last['d_loss']:.3f}, g_loss {last['g_loss']:.3f}"
    step = reached(workdir)
    return f"{step} updates{losses}" if step else None


def reached(workdir):
    """Returns the update that a run was trained to, 0 for a new one."""
    logged = [row["step"] for row in files.read_rows(workdir.train_log)[-1:]]
    return max([checkpoint.latest_step(workdir.checkpoints), *logged])


def _newest_sample(workdir):
    paths = workdir.samples.glob("[!.]*_seed_*.png")
    path = max(paths, key=lambda path: path.stat().st_mtime_ns, default=None)
    # That of a pretrained generator is of no update of the run.
    step = path and re.search(r"_step_(\d+)_", path.name)
    return _of_update(workdir, path, step and int(step[1]))


def _saved_model(workdir):
    newest = serving.newest(workdir.generator)
    step = newest and serving.read_metadata(newest).get("step")
    return _of_update(workdir, newest, step)


def _spectra(workdir):
    found = spectra.read(workdir.spectra)
    return found and _of_update(workdir, workdir.spectra, found.get("step"))


def _collapsed(workdir):
    """Returns the kernels of which the last evaluation had to warn."""
    for row in files.read_rows(workdir.spectral_norms)[-1:]:
        if names := row.get("collapsed"):
            return f"{', '.join(names)}, at update {row['step']}"


def _of_update(workdir, path, step):
    """Returns a path, with the update it is of where that is known."""
    if step is None:
        return path
    reached = checkpoint.latest_step(workdir.checkpoints)
    behind = f"; the run is at {reached}" if step < reached else ""
    return f"{path}, of update {step}{behind}"


def by_measure(rows):
    """Returns the scores of each `(protocol, reference, features, resize)`.

    Without those of pictures that were kept, which are of no run.
    """
    keys = "protocol", "reference", "features", "resize"
    return _grouped([row for row in rows if "fake" not in row], keys)


def kept_lines(rows):
    """Returns lines of text on those of `--mode=score`, a table for each pair.

    Args:
        rows: Of `scores.jsonl`.
    """
    keys = "protocol", "reference", "features", "resize", "fake", "image_size"
    kept = _grouped([row for row in rows if "fake" in row], keys)
    lines = []
    for (*measured, fake, size), scores in kept.items():
        cells = [(x["metric"], shown(x), counted(x)) for x in scores]
        header = ("", "", "generated / real")
        lines += [
            "",
            caption(*measured, f" of {fake}, {size} x {size} pixels"),
            *_aligned([header, *cells]),
        ]
    return lines


def _grouped(rows, keys):
    found = {}
    for row in rows:
        found.setdefault(tuple(row[key] for key in keys), []).append(row)
    return found


def caption(protocol, reference, features, resize, of=""):
    """Returns what scores were measured on, in words."""
    return (
        f"scores{of}, protocol {protocol}: real pictures of {reference}, by "
        f"{features} (resize: {resize})"
    )


def _score_lines(rows, best):
    """Returns a line for each metric: last, best and real, with counts."""
    values = {(row["metric"], row["step"]): row for row in rows}
    generated = [row for row in rows if not is_real(row)]
    steps = scored_steps(rows, best)
    header = [f"{name}, update {step}" for name, step in steps.items()]
    lines = [("", *header, "generated / real", "real pictures")]
    for metric in dict.fromkeys(row["metric"] for row in generated):
        found = [values.get((metric, step)) for step in steps.values()]
        real = [row for row in rows if row["metric"] == f"real_{metric}"][-1:]
        counts = counted(next(filter(None, found)))
        standing = f"{shown(real[0])} ({counted(real[0])})" if real else ""
        lines.append((metric, *map(shown, found), counts, standing))
    return _aligned(lines)


def scored_steps(rows, best):
    """Returns `{"last": step}` of scores, and the `"best"` if it is another."""
    steps = {row["step"] for row in rows if not is_real(row)}
    last = max(steps)
    return {"last": last} | ({"best": best} if best in steps - {last} else {})


def is_real(row):
    """Returns whether a score is of real pictures."""
    return row["metric"].startswith("real_")


def _aligned(rows):
    """Returns a line for each row of cells, columns two spaces apart."""
    rows = [*rows]
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ["  ".join(map(str.ljust, cells, widths)).rstrip() for cells in rows]


def shown(row):
    """Returns a score in words, empty for None."""
    if row is None:
        return ""
    std = f" ± {row['std']:.3g}" if row["std"] is not None else ""
    return f"{row['value']:.4g}{std}"


def counted(row):
    """Returns how many pictures a score was measured on, in words."""
    real = f"{row['num_real']:,}" if row["num_real"] else "-"
    return f"{row['num_fake']:,} / {real}"


def _interval(bounds):
    if not bounds:
        return "not bounded"
    lower, upper = (
        "inf" if bounds[key] is None else f"{bounds[key]:.4g}"
        for key in ("lower", "upper")
    )
    return f"{lower} to {upper}"
