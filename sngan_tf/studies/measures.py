"""What a study takes from a run beside its scores.

Each takes the `Workdir` of a run and its config, and returns rows of `step`,
`metric` and `value`, or `values` for a list.
"""

import numpy as np

from sngan_tf import certificates
from sngan_tf import files
from sngan_tf.runs import loading


def losses(run, config):
    """Returns the losses of the log at each evaluation."""
    return [
        {"step": row["step"], "metric": name, "value": row[name]}
        for row in files.read_rows(run.train_log)
        if row["step"] % config.evaluate_every == 0
        for name in ("d_loss", "g_loss")
    ]


def gradients(run, config):
    """Returns lambda of Eq. 12 and the share along u v^T, of each kernel.

    Medians over the lines of the log since the evaluation before, as single
    batches vary much.
    """
    rows = [row for row in files.read_rows(run.train_log) if "lambdas" in row]
    windows = {}
    for row in rows:
        end = -(-row["step"] // config.evaluate_every) * config.evaluate_every
        windows.setdefault(end, []).append(row)
    return [
        {
            "step": end,
            "metric": f"{metric}/{name}",
            "value": float(np.median([row[key][name] for row in window])),
        }
        for end, window in windows.items()
        for metric, key in (
            ("lambda", "lambdas"),
            ("gradient_share", "gradient_shares"),
        )
        for name in window[0][key]
    ]


def spectral_norms(run, config):
    """Returns sigma of each kernel: exact in effect, and by `u` before."""
    del config
    measured = files.read_rows(run.spectral_norms)
    steps = {row["step"] for row in measured}
    log = [
        row for row in files.read_rows(run.train_log) if row["step"] in steps
    ]
    return [
        {"step": row["step"], "metric": f"{metric}/{name}", "value": value}
        for metric, rows in (("spectral_norm", measured), ("estimate", log))
        for row in rows
        for name, value in row["spectral_norms"].items()
    ]


def singular_values(run, config):
    """Returns all singular values, of a run with `spectra.log_values`."""
    del config
    return [
        {
            "step": row["step"],
            "metric": f"singular_values/{name}",
            "values": values,
        }
        for row in files.read_rows(run.spectral_norms)
        for name, values in row.get("singular_values", {}).items()
    ]


def bounds(run, config):
    """Returns norms of the maps and Lipschitz bounds at the last checkpoint."""
    del config
    if not run.has_checkpoint():
        return []
    gan = loading.load_run(run.path)
    discriminator = gan.discriminator
    constant = certificates.lipschitz_bounds(discriminator)
    norms = certificates.operator_norms(discriminator)
    found = {"lipschitz": (constant.lower, constant.upper)} | {
        f"operator_norm/{name}": (lower, upper)
        for name, (lower, upper, _) in norms.items()
    }
    return [
        {
            "step": int(gan.step.numpy()),
            "metric": f"{name}/{side}",
            "value": float(value),
        }
        for name, sides in found.items()
        for side, value in zip(("lower", "upper"), sides)
    ]
