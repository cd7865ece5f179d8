"""A slope that a model attains, by gradient ascent."""

import keras
import numpy as np
from keras import layers
from keras import ops

from sngan_tf.certificates import arrays
from sngan_tf.certificates import rounding
from sngan_tf.certificates import walk
from sngan_tf.layers import ConditionalBatchNormalization
from sngan_tf.layers import kernels

_PAIRS = 8  # Of each of the two kinds.
# Of the entries at the start: what is steepest may be near the origin or far.
_SCALES = np.tile(np.geomspace(1e-2, 1.0, _PAIRS), 2).astype("float32")
_STEP = 1e-2  # Of these, where the slope at a point is meant.
_LEARNING_RATE = 0.2


def largest_slope(model, specs, steps, seed):
    """Returns the largest `|f(x) - f(y)| / |x - y|` that was found.

    From random points, small and large, of pairs that are free to move, and of
    pairs that stay near, whose slope is that of the Jacobian in one direction.
    What the model may have rounded is taken off.

    Args:
        model: A model or layer that `lipschitz.Slopes` walks.
        specs: A `KerasTensor` of each input, integer ones held fixed.
        steps: Of Adam.
        seed: Of the points.
    """
    pairs = _Pairs(model, specs, seed)
    # What is maximised is scale-free, and so is Adam.
    rate = keras.optimizers.schedules.CosineDecay(_LEARNING_RATE, steps)
    # Without it JAX takes every step operation by operation; TensorFlow has its
    # graphs.
    is_compiled = keras.backend.backend() == "jax"
    pairs.compile(keras.optimizers.Adam(rate), jit_compile=is_compiled)
    best = pairs.slope()
    pairs.fit(np.zeros((steps, 1)), batch_size=1, verbose=0, shuffle=False)
    return max(best, pairs.slope())


class _Pairs(keras.Model):
    """Pairs of inputs as weights, trained to be as far apart in the outputs.

    So Keras differentiates, whatever the backend.
    """

    def __init__(self, model, specs, seed):
        super().__init__(name="pairs", dtype="float32")
        self._rounding = rounding.of(model)
        # In a closure, where Keras finds no weights to train.
        self._outputs_of = lambda inputs: _outputs(model, inputs)
        rng = np.random.default_rng(seed)
        classes = _classes(model)
        self.starts, self.steps = [], []
        for spec in specs:
            shape = (2 * _PAIRS, *spec.shape[1:])
            if keras.backend.is_float_dtype(spec.dtype):
                self.starts.append(self._points(rng, shape, "starts"))
                self.steps.append(self._points(rng, shape, "steps"))
            else:
                labels = rng.integers(classes, size=shape)
                self.starts.append(ops.convert_to_tensor(labels, spec.dtype))
                self.steps.append(None)
        self.built = True

    def _points(self, rng, shape, name):
        values = rng.normal(size=shape).astype("float32")
        return self.add_weight(
            name=name, shape=shape, initializer=lambda *_, **__: values
        )

    def call(self, _):
        """Adds a loss, minus the mean logarithm of the slopes."""
        ends = self._ends()
        changes = self._outputs_of(ends[1]) - self._outputs_of(ends[0])
        tiny = keras.config.epsilon() ** 4
        far = ops.log(tiny + ops.sum(ops.square(changes), axis=1))
        # But for the scale of each, which stays.
        squares = self._step_squares() * ops.square(self._lengths())
        self.add_loss(-ops.mean(far - ops.log(squares)))
        return changes

    def slope(self):
        """Returns the largest slope of the pairs as they are."""
        first, second = self._ends()
        outputs = [arrays.of(self._outputs_of(end)) for end in (first, second)]
        distances = np.sqrt(
            sum(
                np.sum(np.square(_flat(y) - _flat(x)), axis=1)
                for x, y, step in zip(first, second, self.steps)
                if step is not None
            )
        )
        changes = np.linalg.norm(outputs[1] - outputs[0], axis=1)
        sizes = sum(np.linalg.norm(output, axis=1) for output in outputs)
        attained = (changes - self._rounding * sizes) / distances
        return float(max(0.0, np.max(attained)))

    def _ends(self):
        """Returns the inputs at both ends of all pairs."""
        first, second = [], []
        scales = ops.convert_to_tensor(_SCALES)
        for start, step in zip(self.starts, self.steps):
            if step is not None:
                start = start * _rows(scales, step)
                step = step * _rows(scales * self._lengths(), step)
            first.append(start)
            second.append(start if step is None else start + step)
        return first, second

    def _lengths(self):
        """Returns the factor of each step: 1, or what keeps a pair near."""
        entries = sum(
            np.prod(step.shape[1:]) for step in self.steps if step is not None
        )
        near = _STEP * np.sqrt(entries) / ops.sqrt(self._step_squares())
        is_free = np.arange(2 * _PAIRS) < _PAIRS
        return ops.where(is_free, ops.ones_like(near), near)

    def _step_squares(self):
        return sum(
            ops.sum(ops.square(step), axis=tuple(range(1, len(step.shape))))
            for step in self.steps
            if step is not None
        )


def inference(model, *inputs):
    """Returns the outputs of a model or a layer in inference, in any scope."""
    # In `fit` all would be called as in training.
    arguments = {"training": False} if model._call_has_training_arg else {}
    function = walk.graph(model)
    if function is None:
        return model(*inputs, **arguments)
    inputs = keras.tree.pack_sequence_as(function._inputs_struct, inputs)
    return model(inputs, **arguments)


def _outputs(model, inputs):
    """Returns all outputs in inference, `(examples, entries)`, float32."""
    # PyTorch would leave gradients with the model's own weights.
    fixed = [(v, ops.stop_gradient(v.value)) for v in model.variables]
    with keras.StatelessScope(fixed):
        outputs = inference(model, *inputs)
    rows = [
        ops.reshape(ops.cast(output, "float32"), (2 * _PAIRS, -1))
        for output in keras.tree.flatten(outputs)
    ]
    return ops.concatenate(rows, axis=1)


def _classes(model):
    """Returns how many labels all layers of a model know."""
    counts = []
    for layer in kernels.sublayers(model):
        if isinstance(layer, layers.Embedding):
            counts.append(layer.input_dim)
        if isinstance(layer, ConditionalBatchNormalization):
            counts.append(layer.num_classes)
    return min(counts, default=1)


def _flat(x):
    x = arrays.of(x)
    return x.reshape(len(x), -1)


def _rows(values, like):
    return ops.reshape(values, (-1, *(1,) * (len(like.shape) - 1)))
