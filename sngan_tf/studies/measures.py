"""What a study takes from a run beside its scores.

Each takes the `Workdir` of a run and its config, and returns rows of `step`,
`metric` and `value`, or `values` for a list; where that is of kernels, `note`
has their names.
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
    """Returns lambda of Eq. 12 and the share along u v^T, of all kernels.

    Medians over the lines of the log since the evaluation before, as single
    batches vary much.
    """
    windows = {}
    for row in files.read_rows(run.train_log):
        if "lambdas" in row:
            end = -(-row["step"] // config.evaluate_every)
            windows.setdefault(end * config.evaluate_every, []).append(row)
    return [
        _of_kernels(
            end,
            metric,
            {
                name: float(np.median([row[key][name] for row in window]))
                for name in window[0][key]
            },
        )
        for end, window in windows.items()
        for metric, key in (
            ("lambda", "lambdas"),
            ("gradient_share", "gradient_shares"),
        )
    ]


def spectral_norms(run, config):
    """Returns sigma of all kernels: exact in effect, and by `u` before."""
    del config
    measured = files.read_rows(run.spectral_norms)
    steps = {row["step"] for row in measured}
    log = [
        row for row in files.read_rows(run.train_log) if row["step"] in steps
    ]
    return [
        _of_kernels(row["step"], metric, row["spectral_norms"])
        for metric, rows in (("spectral_norm", measured), ("estimate", log))
        for row in rows
        if row["spectral_norms"]
    ]


def _of_kernels(step, metric, found):
    """Returns a row of `{kernel: value}`, the names in its note."""
    return {
        "step": step,
        "metric": metric,
        "values": [*found.values()],
        "note": " ".join(found),
    }


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
