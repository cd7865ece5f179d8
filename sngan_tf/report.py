"""The table that ends a command: what a workdir holds, and how good it is."""

from sngan_tf import workdir as workdir_lib


def table(workdir):
    """Returns lines of text, one for each thing made and each last score."""
    rows = []
    if workdir.train_log.exists() and (
        log := workdir_lib.read_rows(workdir.train_log)
    ):
        last = log[-1]
        losses = f"d_loss {last['d_loss']:.3f}, g_loss {last['g_loss']:.3f}"
        rows.append(("training", f"{last['step']} updates, {losses}"))
    rows += [
        ("checkpoints", workdir.checkpoints),
        ("TensorBoard", workdir.tensorboard),
        ("samples", workdir.samples),
        ("evolution", workdir.samples / "evolution.png"),
        ("SavedModel", workdir.generator),
    ]
    rows = [
        (what, where)
        for what, where in rows
        if isinstance(where, str) or where.exists()
    ]
    rows += _score_rows(workdir)
    return "\n".join(f"{what:30}{where}" for what, where in rows)


def _score_rows(workdir):
    if not workdir.scores.exists():
        return []
    last = {row["metric"]: row for row in workdir_lib.read_rows(workdir.scores)}
    rows = []
    for metric, row in last.items():
        if metric.startswith("real_"):
            continue
        real = last.get(f"real_{metric}")
        real = f" (real pictures {real['value']:.3f})" if real else ""
        rows.append(
            (metric, f"{row['value']:.3f}{real} at update {row['step']}")
        )
    return rows
