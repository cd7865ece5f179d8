"""Runs a layer on other values in the place of some of its variables."""

import contextlib
import threading

import keras

# Of a thread, as each replica of a step is traced in its own.
_STATE = threading.local()


@contextlib.contextmanager
def given(kernels):
    """A context in which normalised layers compute with these kernels.

    They make none of their own, so that what follows the kernels stays as it
    is, and gradients can be taken in the kernels in effect.

    Args:
        kernels: `{id(variable): kernel}`, as `spectra.in_effect` returns it.
    """
    before = getattr(_STATE, "given", {})
    _STATE.given = kernels
    try:
        yield
    finally:
        _STATE.given = before


def given_kernel(variable):
    """Returns the kernel that is given for a variable, None if none is."""
    return getattr(_STATE, "given", {}).get(id(variable))


class Substitution(keras.StatelessScope):
    """A scope in which some variables have other values.

    All other variables are read as outside, also where that is a stateless
    scope itself, as in training on JAX. What is assigned inside, to whatever
    variable (metrics and the states of recurrent layers are not among a
    layer's own), takes effect with `hand_back`.

    Args:
        values: A list of `(variable, tensor)`.
    """

    def __init__(self, values):
        super().__init__(values, collect_losses=True)
        self._substituted = {id(variable) for variable, _ in values}
        self._assigned = {}

    def add_update(self, update):
        variable, _ = update
        self._assigned[id(variable)] = variable
        super().add_update(update)

    def get_current_value(self, variable):
        value = super().get_current_value(variable)
        if value is None and self.original_scope is not None:
            value = self.original_scope.get_current_value(variable)
        return value

    def hand_back(self):
        """Assigns what was assigned inside, but for what was substituted."""
        for key, variable in self._assigned.items():
            if key not in self._substituted:
                variable.assign(self.state_mapping[key])
