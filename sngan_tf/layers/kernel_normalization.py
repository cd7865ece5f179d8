"""What all normalizations of kernels share: a layer called on W / divisor."""

import inspect
from typing import Any

import keras
from keras import ops

from sngan_tf import types
from sngan_tf.layers import building
from sngan_tf.layers import guards
from sngan_tf.layers import kernels as kernels_lib
from sngan_tf.layers import substitution

_HALF = ("float16", "bfloat16")
_BIDIRECTIONAL = (
    "Bidirectional can't hold a normalised layer; normalise what it makes: "
    "{0}(Bidirectional(layer)). Received: Bidirectional({0}(layer))"
)


class KernelNormalization(keras.layers.Wrapper):
    """Calls a layer with `bound * W / divisor(W)` in the place of W.

    The layer's own kernel stays the trainable, un-normalised W and is never
    assigned; the divisor is part of the graph, so that the gradient is that
    of the quotient. Subclasses say what divides, in `_divisor`.

    W and the divisor are float32 under every dtype policy: a wrapped layer of
    a pure half-precision policy is given the mixed one, and only the quotient
    is cast.

    Args:
        layer: Any Keras layer with kernels, or made of such layers.
        learn_scale: If true, a trainable scalar `gamma` for each kernel takes
            the place of `bound` (Appendix E, Eq. 32). It starts at the root
            mean square of the divisor, which is the divisor itself where it
            is one number, so that the layer starts unchanged; for a zero
            kernel at 1.
        output_axes: For a custom layer, `{attribute: axis or axes}`: which of
            its variables are kernels, and which of their axes count outputs.
            None finds both for the layers that Keras has.
        **kwargs: `name` and `trainable`. `dtype` is accepted and has no
            effect: the wrapped layer's own policy decides.

    Call arguments: those of the wrapped layer.

    Raises:
        ValueError: On a layer without kernels or with half-precision ones,
            and on a layer that is normalised or quantized already, or has
            LoRA.
    """

    bound = 1.0

    def __init__(
        self,
        layer: keras.Layer,
        learn_scale: bool = False,
        output_axes: kernels_lib.OutputAxes | None = None,
        **kwargs: Any,
    ):
        # The wrapper reads W outside every autocast scope, so it is float32
        # itself and casts no inputs; the wrapped layer does its own casting.
        super().__init__(layer, **{**kwargs, "dtype": "float32"})
        self.autocast = False
        self.supports_masking = layer.supports_masking
        # TimeDistributed asks for it.
        self._call_has_mask_arg = layer._call_has_mask_arg
        self.learn_scale = bool(learn_scale)
        self.output_axes = kernels_lib.checked_output_axes(output_axes)
        for sublayer in kernels_lib.sublayers(layer):
            if isinstance(sublayer, KernelNormalization):
                raise ValueError(
                    "The layer to wrap must not be normalised already. "
                    f"Received: layer={layer.name}"
                )
            guards.check_kernel_alone(sublayer)
            if not sublayer.built and sublayer.variable_dtype in _HALF:
                sublayer.dtype_policy = f"mixed_{sublayer.variable_dtype}"

    def __call__(self, *args, **kwargs):
        args, kwargs = building.first_positional(self.layer, args, kwargs)
        if not self.layer.built:
            with keras.name_scope(self.name, caller=self):
                building.build(self.layer, args, kwargs)
        return super().__call__(*args, **kwargs)

    def build(self, input_shape=None, **shapes):
        """Builds the wrapped layer, where it is not yet, and the rest.

        Args:
            input_shape: Of the first input; not needed if the layer is built.
            **shapes: What else the layer's own `build` takes, or all of it by
                its names, such as `query_shape` and `value_shape`.
        """
        if not self.layer.built:
            first = () if input_shape is None else (input_shape,)
            self.layer.build(*first, **shapes)
        self._find_kernels()
        for variable in self._kernels:
            if keras.backend.standardize_dtype(variable.dtype) in _HALF:
                raise ValueError(
                    "The kernels of an already built layer must be float32 "
                    "(a mixed dtype policy keeps them so). Received: "
                    f"{variable.path} of dtype {variable.dtype}"
                )
        for sublayer in kernels_lib.sublayers(self.layer):
            if kernels_lib.own_kernels(sublayer, self.output_axes):
                guards.refuse_replacement(sublayer)
        self._build_statistics()
        self._scales = []
        if self.learn_scale:
            self._scales = [
                self._keep("gamma", i, self._add_scale(i))
                for i in range(len(self._kernels))
            ]

    def _find_kernels(self):
        found = kernels_lib.find_kernels(self.layer, self.output_axes)
        if not found:
            asked = f" among {[*self.output_axes]}" if self.output_axes else ""
            raise ValueError(
                f"The layer to wrap must have a kernel to normalise{asked}. "
                f"Received: {type(self.layer).__name__} '{self.layer.name}' "
                "with weights "
                f"{[weight.name for weight in self.layer.weights]}"
            )
        self._kernels = [variable for variable, _ in found]
        self._output_axes = [axes for _, axes in found]
        if self.output_axes:
            for variable, axes in found:
                kernels_lib.check_axes(variable, axes)

    def _build_statistics(self):
        """Adds the variables that the divisor needs; by default none."""

    def _keep(self, name, index, variable):
        """Returns a variable that belongs to a kernel, as others find it."""
        # tf.train.Checkpoint follows attributes but not lists of a layer;
        # PyTorch and states as trees tell variables apart by their paths.
        setattr(self, f"{name}_{index}", variable)
        variable._path += f"_{index}" if index else ""
        return variable

    def _add_scale(self, index):
        return self.add_weight(
            name="gamma",
            shape=(),
            initializer=lambda shape, dtype=None: self._initial_scale(index),
            dtype="float32",
            autocast=False,
        )

    def _initial_scale(self, index):
        divisor = self._divisor(index, self._kernels[index])
        largest = ops.max(divisor)
        # Squared as they are, very small or large ones leave float32.
        ratio = divisor / ops.where(largest > 0, largest, 1.0)
        scale = largest * ops.sqrt(ops.mean(ops.square(ratio)))
        return ops.where(scale > 0, scale, 1.0)

    def settle(self) -> None:
        """Fits `u` and `gamma` to the kernels as they are now, as at build.

        For kernels that were set from outside, such as by `set_weights`.
        """
        self._settle_statistics()
        for i, scale in enumerate(self._scales):
            scale.assign(self._initial_scale(i))

    def _settle_statistics(self):
        """Fits the variables that the divisor needs; by default none."""

    def call(self, *args, training=None, **kwargs):
        if "training" in inspect.signature(self.layer.call).parameters:
            kwargs["training"] = training
        values = [
            self._in_effect(i, training) for i in range(len(self._kernels))
        ]
        scope = substitution.Substitution(list(zip(self._kernels, values)))
        with scope:
            outputs = self.layer(*args, **kwargs)
        scope.hand_back()
        # Losses, as of an activity regularizer, become the wrapper's own.
        self.layer._clear_losses()
        for loss in scope.losses:
            self.add_loss(loss)
        return outputs

    def normalized_kernel(self) -> types.Tensor:
        """Returns the float32 kernel(s) that inference uses, in W's shape."""
        kernels = self.normalized_kernels()
        return kernels[0] if len(kernels) == 1 else kernels

    def normalized_kernels(self) -> list[types.Tensor]:
        """Returns a list of them, in the order of `kernels`."""
        return [
            self._normalize(i, training=False)
            for i in range(len(self._kernels))
        ]

    @property
    def kernels(self) -> list[keras.Variable]:
        """The un-normalised kernel variables, in the wrapped layer's order."""
        return list(self._kernels)

    def compute_mask(self, inputs, previous_mask=None):
        # Of the arguments that `call` gathers, Keras hands in all.
        return self.layer.compute_mask(_first(inputs), _first(previous_mask))

    def compute_output_shape(self, *args, **kwargs):
        return self.layer.compute_output_shape(*args, **kwargs)

    def compute_output_spec(self, *args, training=None, **kwargs):
        return self.layer.compute_output_spec(*args, **kwargs)

    @property
    def _build_shapes_dict(self):
        # From these Keras computes the output shapes of `model.summary()`.
        return self.layer._build_shapes_dict

    @_build_shapes_dict.setter
    def _build_shapes_dict(self, value):
        """Does nothing: the shapes are those of the wrapped layer."""

    def get_build_config(self):
        return {"layer": self.layer.get_build_config()} if self.built else None

    def build_from_config(self, config):
        if not self.layer.built and config["layer"]:
            with keras.name_scope(self.name, caller=self):
                self.layer.build_from_config(config["layer"])
        self.build()

    @classmethod
    def from_config(cls, config, custom_objects=None):
        if "go_backwards" in config:  # From the constructor of Bidirectional.
            raise ValueError(_BIDIRECTIONAL.format(cls.__name__))
        return super().from_config(config, custom_objects)

    def get_config(self):
        return {
            **super().get_config(),
            "learn_scale": self.learn_scale,
            "output_axes": self.output_axes,
        }

    def _divisor(self, index, kernel, training=False):
        """Returns what divides a kernel, of a shape that broadcasts to it.

        Args:
            index: Number of the kernel among `kernels`.
            kernel: Its value.
            training: Whether what follows the kernel advances.
        """
        raise NotImplementedError

    def _inverse(self, index, kernel, training=False):
        """Returns 1 / divisor, and 1 where that is 0.

        A zero kernel, or row of one, stays zero whatever divides it.
        """
        divisor = self._divisor(index, kernel, training)
        divisor = ops.where(divisor > 0, divisor, ops.ones_like(divisor))
        # The constant part apart: the gradient of a bare 1 / sigma holds
        # 1 / sigma^2, which leaves the range of float32 long before sigma.
        # By products: XLA divides twice by dividing by the square.
        constant = ops.stop_gradient(ops.reciprocal(divisor))
        return ops.reciprocal(divisor * constant) * constant

    def _factor(self, index, kernel, training):
        """Returns what a kernel is multiplied by, in place of its divisor."""
        factor = self._inverse(index, kernel, training)
        if self.learn_scale:
            return factor * self._scales[index]
        return factor * self.bound if self.bound != 1.0 else factor

    def _in_effect(self, index, training):
        given = substitution.given_kernel(self._kernels[index])
        return self._normalize(index, training) if given is None else given

    def _normalize(self, index, training):
        # As a tensor, which TensorFlow reads once for all its uses.
        kernel = ops.cast(self._kernels[index], self._kernels[index].dtype)
        factor = self._factor(index, kernel, training)
        return kernel * ops.cast(factor, kernel.dtype)


def _first(x):
    if isinstance(x, tuple):
        return x[0] if x else None
    return x
