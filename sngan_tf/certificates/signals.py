"""What is known of a tensor in the graph: how far inputs can move it."""

import dataclasses
import math

import keras
import numpy as np


@dataclasses.dataclass(frozen=True)
class Signal:
    """A tensor of one example, as a function of the model's inputs.

    Attributes:
        spec: `keras.KerasTensor`, of its shape.
        slopes: For each input of the model a bound on its change, in 2-norm,
            over that of the input: float64 `(inputs,)`, zeros for a constant.
        joint: The same for all inputs together, at most the norm of `slopes`.
        size: Of a constant, a bound on its 2-norm; None if not known.
    """

    spec: keras.KerasTensor
    slopes: np.ndarray
    joint: float
    size: float | None = None

    @property
    def shape(self):
        return self.spec.shape

    @property
    def dtype(self):
        return self.spec.dtype

    @property
    def is_constant(self):
        return not np.any(self.slopes)

    @property
    def entries(self):
        """Numbers of one example."""
        return math.prod(self.spec.shape[1:])


def inputs(specs):
    """Returns the signals of a model's inputs; integers are held fixed."""
    slopes = np.diag(
        [float(keras.backend.is_float_dtype(spec.dtype)) for spec in specs]
    )
    return [
        Signal(spec, row, float(np.max(row)))
        for spec, row in zip(specs, slopes)
    ]


def constant(spec, like, size=None):
    """Returns a signal that no input moves, in a model of another's inputs."""
    return Signal(spec, np.zeros_like(like.slopes), 0.0, size)


def scaled(signal, factor, spec):
    """Returns what becomes of a signal behind a layer of one slope."""
    return Signal(spec, factor * signal.slopes, factor * signal.joint)


def added(signals, spec):
    """Returns the sum: slopes add up."""
    slopes = sum(signal.slopes for signal in signals)
    joint = sum(signal.joint for signal in signals)
    return Signal(spec, slopes, min(joint, _norm(slopes)))


def stacked(signals, spec):
    """Returns several side by side: squares of slopes add up."""
    slopes = np.stack([signal.slopes for signal in signals])
    joint = _norm([signal.joint for signal in signals])
    return Signal(
        spec,
        np.hypot.reduce(slopes, axis=0),
        # Branches of separate inputs are no larger together than alone.
        min(joint, float(np.linalg.norm(slopes, 2))),
    )


def broadcast(signal, spec):
    """Returns a signal whose entries are copied to a shape, if it is larger."""
    return scaled(signal, math.sqrt(copies(signal, spec)), spec)


def copies(signal, spec):
    """Returns how often each entry stands in a shape, 1 if it is no larger."""
    return max(math.prod(spec.shape[1:]) / signal.entries, 1.0)


def _norm(values):
    return float(np.hypot.reduce(values))  # No square leaves float64.
