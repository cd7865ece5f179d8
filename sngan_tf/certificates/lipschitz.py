"""The Lipschitz constant of a whole model, from above and from below."""

import dataclasses
import numbers
from collections.abc import Sequence

import keras
import numpy as np
from keras import layers

from sngan_tf import types
from sngan_tf.certificates import arrays
from sngan_tf.certificates import ascent
from sngan_tf.certificates import layer_rules
from sngan_tf.certificates import merges
from sngan_tf.certificates import rounding
from sngan_tf.certificates import rules
from sngan_tf.certificates import signals as signals_lib
from sngan_tf.certificates import walk


@dataclasses.dataclass(frozen=True)
class LayerBound:
    """The bound of one call of a layer, or of an operation of `keras.ops`.

    Attributes:
        name: Of the layer.
        bound: On the 2-norm of the change of its outputs over that of all its
            inputs together.
        how: It was found, in a few words.
        rigorous: Whether it is proved; what was taught by `register_lipschitz`
            is only if it says so.
    """

    name: str
    bound: float
    how: str
    rigorous: bool


@dataclasses.dataclass(frozen=True)
class LipschitzBounds:
    """Between which numbers the Lipschitz constant of a model lies.

    Attributes:
        upper: No change of the inputs changes the outputs by more than this
            many times its 2-norm.
        lower: Some change does by this many times.
        layers: `LayerBound` of each call, in the order of the graph.
    """

    upper: float
    lower: float
    layers: tuple[LayerBound, ...]

    @property
    def rigorous(self) -> bool:
        """Whether `upper` rests on nothing that was taught without proof."""
        return all(layer.rigorous for layer in self.layers)


def lipschitz_bounds(
    model: keras.Layer,
    input_shape: types.Shape | Sequence[types.Shape] | None = None,
    ascent_steps: int = 300,
    seed: int = 0,
) -> LipschitzBounds:
    """Returns the `LipschitzBounds` of a model in inference, in 2-norm.

    `upper` is a product along each path of the graph, and a sum where paths are
    added; slopes side by side, and of inputs that change together, add up in
    squares. Kernels are bounded as the maps that they are, see
    `operator_norms`. It holds for all inputs, in exact arithmetic, and is
    mostly far above `lower`, which gradient ascent finds, on pairs of points
    and on the slope at a point; the constant itself lies between. A `lower`
    that exceeds a proved `upper`, as rounding may make it, is set to that.

    Integer inputs, as labels, are held fixed: the bound is of each of them.
    Several inputs, or outputs, count as one long vector.

    Args:
        model: A built Functional or Sequential model, or a layer of one input.
        input_shape: Of one example, as `(32, 32, 3)`, where the model leaves
            sizes open; a list of such for several inputs.
        ascent_steps: Of gradient ascent; 0 for a `lower` of 0, at once.
        seed: Of the points where it starts.

    Raises:
        ValueError: On a layer that has no bound or none that is known, by its
            name; `register_lipschitz` teaches others. On a kind of model that
            can't be walked, and on open sizes.

    Example:
        >>> bounds = lipschitz_bounds(discriminator)
        >>> bounds.lower, bounds.upper, bounds.layers[0]
    """
    if not isinstance(ascent_steps, numbers.Integral) or ascent_steps < 0:
        raise ValueError(
            "`ascent_steps` must be a whole number of 0 or more. "
            f"Received: ascent_steps={ascent_steps}"
        )
    slopes = Slopes(model, input_shape)
    lower = 0.0
    if ascent_steps and slopes.upper:
        lower = ascent.largest_slope(model, slopes.inputs, ascent_steps, seed)
    bounds = LipschitzBounds(slopes.upper, lower, tuple(slopes.layers))
    if bounds.rigorous and lower > slopes.upper:  # What the model rounded.
        return dataclasses.replace(bounds, lower=slopes.upper)
    return bounds


class Slopes:
    """Bounds of all tensors of a model.

    Args:
        model: As of `lipschitz_bounds`.
        input_shape: As of `lipschitz_bounds`.

    Attributes:
        inputs: A `keras.KerasTensor` of each input.
        outputs: A `signals.Signal` of each output.
        upper: Bound of all outputs together.
        layers: A list of `LayerBound`.
        calls: Of each of these `(operation, signals, signal)`, without
            wrappers, those that change and go in, and what comes out.

    Raises:
        ValueError: As `lipschitz_bounds`.
    """

    def __init__(self, model, input_shape=None):
        if not _is_known(model):
            raise ValueError(
                "`model` must be a built Functional or Sequential model, or a "
                f"built layer of one input. Received: {model!r}"
            )
        self.layers = []
        self.calls = []
        self.inputs = walk.input_specs(model, input_shape)
        self.outputs = walk.run(
            model, signals_lib.inputs(self.inputs), self._call
        )
        together = signals_lib.stacked(self.outputs, None)
        self.upper = together.joint * rounding.FLOAT64

    def _call(self, operation, *args, **kwargs):
        flat = keras.tree.flatten((args, kwargs))
        signals = [x for x in flat if isinstance(x, signals_lib.Signal)]
        specs = keras.tree.flatten(_output_specs(operation, args, kwargs))
        layer = walk.plain(operation)
        moving = [signal for signal in signals if not signal.is_constant]
        if kwargs.get("training"):
            raise rules.refusal(layer, "it is called as in training")
        if not moving:
            size = _constant_size(layer, signals)
            found = [
                signals_lib.constant(spec, signals[0], size) for spec in specs
            ]
            return found if len(found) > 1 else found[0]
        _check_outputs(layer, moving, specs)
        arguments = [x for x in flat if not isinstance(x, (bool, str))]
        merge = None if rules.is_taught(layer) else merges.of(layer)
        if merge:
            signal, bound = merge(layer, arguments, signals, moving, specs[0])
            rules.check_finite(layer, bound)
        else:
            # A rule that was taught knows what labels do.
            changing = moving if rules.is_taught(layer) else signals
            shapes = [tuple(signal.spec.shape) for signal in changing]
            bound = rules.bound(layer, *shapes)
            signal = signals_lib.scaled(moving[0], bound.value, specs[0])
        # By the name that kernels go by.
        name = walk.wrapped(operation).name
        self.layers.append(LayerBound(name, *bound))
        self.calls.append((layer, moving, signal))
        return signal


def _is_known(model):
    if walk.graph(model) is not None:
        return True
    is_layer = isinstance(model, keras.Layer)
    is_single = is_layer and not isinstance(model, keras.Model)
    return is_single and len(walk.build_shapes(model)) == 1


def _check_outputs(layer, moving, specs):
    if len(specs) > 1:
        raise rules.refusal(layer, "no rule is known of several outputs")
    (spec,) = specs
    if not spec.shape or spec.shape[0] is not None or _mixes(layer, moving[0]):
        raise rules.refusal(layer, "it mixes the examples of a batch")
    if None in spec.shape[1:]:
        raise rules.refusal(layer, f"the size of {spec.shape} stays open")
    if not keras.backend.is_float_dtype(spec.dtype):
        raise rules.refusal(layer, f"its outputs are {spec.dtype}")


def _mixes(layer, signal):
    """Returns whether a layer works along the batch axis, and leaves it."""
    rank = len(signal.shape)
    if type(layer).__name__ in ("Concatenate", "Flip", "Softmax"):
        axes = [*range(rank)] if layer.axis is None else layer.axis
        return 0 in np.atleast_1d(np.mod(axes, rank))
    return False


def _output_specs(operation, args, kwargs):
    """Returns `KerasTensor`s of the outputs of a call with signals."""
    args, kwargs = keras.tree.map_structure(
        lambda x: x.spec if isinstance(x, signals_lib.Signal) else x,
        (args, kwargs),
    )
    outputs = walk.output_spec(operation, args, kwargs)
    if isinstance(walk.wrapped(operation), layers.EinsumDense):
        equation = walk.wrapped(operation).equation
        return _closed(equation, args[0].shape, outputs)
    return outputs


def _closed(equation, input_shape, output):
    """Returns the spec of an EinsumDense layer, sizes that it leaves open."""
    operands, labels = equation.split("->")
    if len(labels) != len(output.shape):  # With an ellipsis.
        return output
    sizes = dict(zip(operands.split(",")[0], input_shape))
    shape = [
        sizes.get(label) if size is None else size
        for label, size in zip(labels, output.shape)
    ]
    return keras.KerasTensor(shape, output.dtype)


def _constant_size(layer, signals):
    """Returns a bound on the 2-norm of what a layer makes of constants."""
    (signal, *others) = signals
    # Where there is a mask, products take 1 for what is masked.
    if type(layer) is layers.Embedding and not layer.mask_zero:
        layer_rules.check_plain(layer)
        rows = arrays.of(layer.embeddings)
        longest = float(np.max(np.linalg.norm(rows, axis=1)))
        return longest * signal.entries**0.5
    if signal.size is None or others or type(layer) not in layer_rules.LINEAR:
        return None
    return signal.size * rules.bound(layer, tuple(signal.spec.shape)).value
