"""Spectral normalization of any Keras layer (Miyato et al., 2018)."""

import inspect

import keras
from keras import initializers
from keras import ops

from sngan_tf.layers import kernels as kernels_lib
from sngan_tf.layers import power_iteration

NORMS = ("matrix",)
_HALF = ("float16", "bfloat16")


@keras.saving.register_keras_serializable("sngan_tf")
class SpectralNormalization(keras.layers.Wrapper):
    """Divides the kernels of a layer by their spectral norm.

    The wrapped layer computes with `bound * W / sigma(W)`. Its own kernel
    stays the trainable, un-normalised W and is never assigned; sigma is part
    of the graph, so the gradient is that of Eq. 9-12. Each kernel is read as
    the matrix d_out x rest (see `kernels.find_kernels`) and has one
    non-trainable float32 vector `u`.

    With `training=True` a call advances `u` by `power_iterations` steps
    (Algorithm 1) and uses the new one; with `training=False` no variable
    changes. Departure from the paper: `u` is settled on the initial kernel at
    build, so that sigma is right from the first call on.

    W, `u` and sigma are float32 under every dtype policy: a wrapped layer of
    a pure half-precision policy is given the mixed one, and only the quotient
    is cast. A zero kernel stays zero, with finite gradients.

    Args:
        layer: Any Keras layer with kernels: dense, convolution (transposed,
            depthwise, separable), `EinsumDense`, `MultiHeadAttention`,
            `Embedding`, recurrent, or a layer made of these.
        power_iterations: Steps for each training call, at least 1.
        norm: Which norm divides; `"matrix"` is that of the reshaped kernel,
            as in the paper.
        bound: The spectral norm that the kernels get, positive (the authors'
            `factor`).
        learn_scale: If true, a trainable scalar `gamma` for each kernel takes
            the place of `bound` (Appendix E, Eq. 32); it starts at sigma(W),
            so that the layer starts unchanged (at 1 for a zero kernel).
        **kwargs: `name` and `trainable`. `dtype` is accepted and has no
            effect: the wrapped layer's own policy decides.

    Call arguments: those of the wrapped layer.

    Raises:
        ValueError: On an argument out of range, on a layer without kernels
            or with half-precision ones, and on a layer that is spectrally
            normalised already.

    Example:
    >>> layer = SpectralNormalization(keras.layers.Conv2D(64, 3))
    >>> outputs = layer(images, training=True)

    Reference: https://arxiv.org/abs/1802.05957
    """

    def __init__(
        self,
        layer,
        power_iterations=1,
        norm="matrix",
        bound=1.0,
        learn_scale=False,
        **kwargs,
    ):
        _check_arguments(power_iterations, norm, bound, learn_scale)
        # The wrapper reads W outside every autocast scope, so it is float32
        # itself and casts no inputs; the wrapped layer does its own casting.
        super().__init__(layer, **{**kwargs, "dtype": "float32"})
        self.autocast = False
        self.supports_masking = layer.supports_masking
        self.power_iterations = int(power_iterations)
        self.norm = norm
        self.bound = float(bound)
        self.learn_scale = bool(learn_scale)
        for sublayer in kernels_lib.sublayers(layer):
            if isinstance(sublayer, SpectralNormalization):
                raise ValueError(
                    "The layer to wrap must not be spectrally normalised "
                    f"already. Received: layer={layer.name}"
                )
            if not sublayer.built and sublayer.variable_dtype in _HALF:
                sublayer.dtype_policy = f"mixed_{sublayer.variable_dtype}"

    def __call__(self, *args, **kwargs):
        # Keras hands `build` the shape of the first input alone, which is
        # not enough for layers of several inputs such as attention.
        if not self.layer.built:
            with keras.name_scope(self.name, caller=self):
                _build(self.layer, args, kwargs)
        return super().__call__(*args, **kwargs)

    def build(self, input_shape=None):
        super().build(input_shape)
        found = kernels_lib.find_kernels(self.layer)
        if not found:
            raise ValueError(
                "The layer to wrap must have a kernel to normalise. "
                f"Received: {type(self.layer).__name__} '{self.layer.name}' "
                "with weights "
                f"{[weight.name for weight in self.layer.weights]}"
            )
        self._kernels = [variable for variable, _ in found]
        self._output_axes = [axes for _, axes in found]
        for variable in self._kernels:
            if keras.backend.standardize_dtype(variable.dtype) in _HALF:
                raise ValueError(
                    "The kernels of an already built layer must be float32 "
                    "(a mixed dtype policy keeps them so). Received: "
                    f"{variable.path} of dtype {variable.dtype}"
                )
        self._vectors = self._keep("u", self._add_vector)
        self._scales = None
        if self.learn_scale:
            self._scales = self._keep("gamma", self._add_scale)

    def _keep(self, name, add):
        variables = [add(i) for i in range(len(self._kernels))]
        # tf.train.Checkpoint follows attributes but not lists of a layer.
        for i, variable in enumerate(variables):
            setattr(self, f"{name}_{i}", variable)
        return variables

    def _add_vector(self, index):
        def initializer(shape, dtype=None):
            start = initializers.RandomNormal(stddev=1.0)(shape, dtype)
            return power_iteration.warm_start(self._matrix(index), start)

        return self.add_weight(
            name="u",
            shape=(self._matrix(index).shape[0],),
            initializer=initializer,
            dtype="float32",
            trainable=False,
            autocast=False,
            aggregation="only_first_replica",
        )

    def _add_scale(self, index):
        return self.add_weight(
            name="gamma",
            shape=(),
            initializer=lambda shape, dtype=None: self._divisor(index),
            dtype="float32",
            autocast=False,
        )

    def call(self, *args, training=None, **kwargs):
        if "training" in inspect.signature(self.layer.call).parameters:
            kwargs["training"] = training
        # Inside this scope the wrapped layer sees the quotient where it reads
        # its kernel. All other variables are mapped to what an outer scope
        # (stateless training on JAX) holds, and handed back below.
        others = self._other_variables()
        values = [variable.value for variable in others]
        values += [
            self._normalize(i, training) for i in range(len(self._kernels))
        ]
        scope = keras.StatelessScope(
            list(zip([*others, *self._kernels], values)), collect_losses=True
        )
        before = [scope.get_current_value(variable) for variable in others]
        with scope:
            outputs = self.layer(*args, **kwargs)
        for variable, value in zip(others, before):
            after = scope.get_current_value(variable)
            if after is not value:
                variable.assign(after)
        # Losses, as of an activity regularizer, become the wrapper's own.
        self.layer._clear_losses()
        for loss in scope.losses:
            self.add_loss(loss)
        return outputs

    def spectral_norm(self):
        """Returns the current estimate of sigma(W), a float32 scalar.

        A layer with several kernels returns a list, in the order of
        `kernels`.
        """
        return self._one_or_list(self._sigma)

    def normalized_kernel(self):
        """Returns the float32 kernel(s) that inference uses, in W's shape."""
        return self._one_or_list(lambda i: self._normalize(i, training=False))

    @property
    def kernels(self):
        """The un-normalised kernel variables, in the wrapped layer's order."""
        return list(self._kernels)

    def compute_mask(self, inputs, previous_mask=None):
        return self.layer.compute_mask(inputs, previous_mask)

    def compute_output_shape(self, *args, **kwargs):
        return self.layer.compute_output_shape(*args, **kwargs)

    def compute_output_spec(self, *args, training=None, **kwargs):
        return self.layer.compute_output_spec(*args, **kwargs)

    def get_build_config(self):
        return {"layer": self.layer.get_build_config()}

    def build_from_config(self, config):
        if not self.layer.built and config["layer"]:
            with keras.name_scope(self.name, caller=self):
                self.layer.build_from_config(config["layer"])
        self.build()

    def get_config(self):
        return {
            **super().get_config(),
            "power_iterations": self.power_iterations,
            "norm": self.norm,
            "bound": self.bound,
            "learn_scale": self.learn_scale,
        }

    def _matrix(self, index):
        w = power_iteration.as_matrix(
            ops.convert_to_tensor(self._kernels[index]),
            self._output_axes[index],
        )
        return ops.cast(w, "float32")

    def _sigma(self, index, training=False):
        w, u = self._matrix(index), self._vectors[index]
        if training:
            new_u, v = power_iteration.power_iteration(
                w, ops.convert_to_tensor(u), self.power_iterations
            )
            u.assign(new_u)
            return power_iteration.sigma(w, new_u, v)
        u = ops.convert_to_tensor(u)
        return power_iteration.sigma(w, u, power_iteration.right_vector(w, u))

    def _divisor(self, index, training=False):
        # Sigma, or 1 for a zero kernel, which is zero whatever divides it.
        sigma = self._sigma(index, training)
        return ops.where(sigma > 0, sigma, ops.ones_like(sigma))

    def _normalize(self, index, training):
        kernel = self._kernels[index]
        scale = self._scales[index] if self.learn_scale else self.bound
        divisor = self._divisor(index, training)
        # The constant part first: the gradient of a bare 1 / sigma holds
        # 1 / sigma^2, which leaves the range of float32 long before sigma.
        constant = ops.stop_gradient(divisor)
        factor = ops.cast(scale / (divisor / constant), kernel.dtype)
        kernel = ops.convert_to_tensor(kernel)
        return kernel / ops.cast(constant, kernel.dtype) * factor

    def _other_variables(self):
        ours = {id(variable) for variable in self._kernels}
        return [v for v in self.layer.variables if id(v) not in ours]

    def _one_or_list(self, function):
        values = [function(i) for i in range(len(self._kernels))]
        return values[0] if len(values) == 1 else values


def _check_arguments(power_iterations, norm, bound, learn_scale):
    if int(power_iterations) != power_iterations or power_iterations < 1:
        raise ValueError(
            "`power_iterations` must be an integer of at least 1. "
            f"Received: power_iterations={power_iterations}"
        )
    if norm not in NORMS:
        raise ValueError(
            f"`norm` must be one of {', '.join(map(repr, NORMS))}. "
            f"Received: norm={norm!r}"
        )
    if not 0 < bound < float("inf"):
        raise ValueError(
            f"`bound` must be positive and finite. Received: bound={bound}"
        )
    if learn_scale and bound != 1.0:
        raise ValueError(
            "`bound` must stay 1.0 with `learn_scale`, which takes its place. "
            f"Received: bound={bound}"
        )


def _build(layer, args, kwargs):
    # The wrapper takes `training` whether or not the wrapped layer does.
    kwargs = {name: x for name, x in kwargs.items() if name != "training"}
    layer.build(**_build_shapes(layer, args, kwargs))
    unbuilt = any(not inner.built for inner in kernels_lib.sublayers(layer))
    if unbuilt and not kernels_lib.find_kernels(layer):
        # A custom layer without `build` makes its weights when called.
        layer.compute_output_spec(*args, **kwargs)


def _build_shapes(layer, args, kwargs):
    """Returns the arguments of `layer.build` for a call with these inputs."""
    inputs = inspect.signature(layer.call).bind(*args, **kwargs).arguments
    names = list(inspect.signature(layer.build).parameters)

    def shape_of(x):
        return keras.tree.map_structure(lambda tensor: tuple(tensor.shape), x)

    if len(names) == 1:
        return {names[0]: shape_of(next(iter(inputs.values())))}
    given = {f"{name}_shape": value for name, value in inputs.items()}
    return {
        name: shape_of(given[name])
        for name in names
        if given.get(name) is not None
    }
