"""What the kernels of networks are as linear maps, as numbers for JSON."""

import json
import math

from sngan_tf import certificates
from sngan_tf import files
from sngan_tf import progress
from sngan_tf.errors import first_line
from sngan_tf.layers import effective_rank
from sngan_tf.layers import singular_values
from sngan_tf.layers import spectra as spectra_lib

FILE = "spectra.json"


def measure(networks):
    """Returns what is known of each network, of the kernels in effect.

    Shows a bar meanwhile.

    Args:
        networks: `{name: model}`, built Keras models.

    Returns:
        `{name: {"kernels", "lipschitz"}}`. Each of the kernels, by name, has
        `shape`, `singular_values`, `effective_rank` and `operator_norm`, from
        `lower` to `upper`, and `how` the latter was found. What can't be
        bounded is missing, with the reason as `operator_norms_refused` or
        `lipschitz_refused`.
    """
    measured = {name: {} for name in networks}
    parts = [
        (name, part)
        for name in networks
        for part in (_kernels, _operator_norms, _lipschitz)
    ]
    for name, part in progress.over(parts, "spectra", len(parts), " parts"):
        part(networks[name], measured[name])
    return measured


def _kernels(model, measured):
    shapes = {
        kernel.name: [*kernel.variable.shape]
        for kernel in spectra_lib.named_kernels(model)
    }
    measured["kernels"] = {
        name: {
            "shape": shapes[name],
            "singular_values": values.tolist(),
            "effective_rank": effective_rank(values),
        }
        for name, values in singular_values(model).items()
    }


def _operator_norms(model, measured):
    try:
        norms = certificates.operator_norms(model)
    except ValueError as error:
        measured["operator_norms_refused"] = first_line(error)
        return
    for name, (lower, upper, how) in norms.items():
        measured["kernels"][name]["operator_norm"] = {
            "lower": float(lower),
            "upper": float(upper),
            "how": how,
        }


def _lipschitz(model, measured):
    try:
        bounds = certificates.lipschitz_bounds(model)
    except ValueError as error:
        measured["lipschitz_refused"] = first_line(error)
        return
    measured["lipschitz"] = {
        "upper": float(bounds.upper),
        "lower": float(bounds.lower),
        "layers": [
            {
                "name": layer.name,
                "bound": float(layer.bound),
                "how": layer.how,
                "rigorous": bool(layer.rigorous),
            }
            for layer in bounds.layers
        ],
    }


def write(folder, facts, measured):
    """Writes `spectra.json`; null stands for what is not finite.

    Args:
        folder: Where.
        facts: What the networks are of, for JSON.
        measured: What `measure` returns.

    Raises:
        UserError: If the disk refuses.
    """
    content = _finite({**facts, "networks": measured})
    files.write_text(folder / FILE, json.dumps(content, allow_nan=False) + "\n")


def read(folder):
    """Returns what `write` has written, empty if there is none."""
    try:
        return json.loads((folder / FILE).read_text())
    except (OSError, ValueError):
        return {}


def _finite(value):
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [*map(_finite, value)]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
