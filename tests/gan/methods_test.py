import gradients
import keras
import numpy as np
import pytest
from keras import layers

from sngan_tf.gan import methods
from sngan_tf.gan import penalties
from sngan_tf.layers import FrobeniusNormalization
from sngan_tf.layers import SpectralNormalization
from sngan_tf.layers import SpectralRegularization
from sngan_tf.layers import WeightNormalization

IMAGES = np.random.default_rng(0).normal(size=(3, 4, 5, 2)).astype("float32")
# Layers of a discriminator, with inputs.
LAYERS = {
    "conv": (layers.Conv2D, (4, 3), IMAGES),
    "dense": (layers.Dense, (4,), IMAGES),
    "embedding": (layers.Embedding, (7, 3), np.array([1, 6])),
}
each_layer = pytest.mark.parametrize("kind", LAYERS)

# The method's own coefficient, and the losses that it goes with.
ALL = {"hinge", "non_saturating", "wasserstein", "relativistic"}
BOUNDED = ALL - {"wasserstein"}
RULES = {
    "none": (None, BOUNDED),
    "weight_clipping": (0.01, ALL),
    "gan_gp": (10.0, BOUNDED),
    "wgan_gp": (10.0, {"wasserstein"}),
    "batch_norm": (None, BOUNDED),
    "layer_norm": (None, BOUNDED),
    "weight_norm": (None, ALL),
    "frobenius_norm": (None, ALL),
    "orthonormal": (1e-3, ALL),
    "spectral_regularization": (0.01, ALL),
    "spectral_norm": (1.0, ALL),
    "wgan_gp_frobenius_norm": (10.0, {"wasserstein"}),
    "wgan_gp_weight_norm": (10.0, {"wasserstein"}),
    "wgan_gp_spectral_norm": (10.0, {"wasserstein"}),
    "conv_spectral_norm": (1.0, ALL),
    "bidirectional_spectral_norm": (1.0, ALL),
    "soft_spectral_norm": (1.0, ALL),
    "sr_gan_static": (1.0, ALL),
    "sr_gan_dynamic": (1.0, ALL),
    "r1_r2": (1.0, BOUNDED),
}
each_method = pytest.mark.parametrize("name", methods.METHODS)
without_coefficient = [name for name, rule in RULES.items() if not rule[0]]

REASONS = {
    "none": "nothing bounds the slope",
    "batch_norm": "nothing bounds the slope",
    "layer_norm": "nothing bounds the slope",
    "gan_gp": "this penalty is wgan_gp",
    "wgan_gp": "gan_gp has it on the others",
    "wgan_gp_frobenius_norm": "gan_gp has it on the others",
    "wgan_gp_weight_norm": "gan_gp has it on the others",
    "wgan_gp_spectral_norm": "gan_gp has it on the others",
    "r1_r2": "it holds the slope of the discriminator at images",
}


def wrapped(name, kind, **kwargs):
    layer_class, sizes, inputs = LAYERS[kind]
    layer = methods.get(name, **kwargs).wrap(layer_class(*sizes, name="inner"))
    layer(inputs)
    return layer


def kernel_of(layer):
    """The embeddings if it has no kernel."""
    return layer.trainable_variables[0]


def normalized_model(name):
    """What a method does to feature maps, as a model."""
    inputs = keras.Input(IMAGES.shape[1:])
    return keras.Model(inputs, methods.get(name).normalize(inputs, "norm"))


def test_every_method_has_its_rule():
    assert set(methods.METHODS) == set(RULES)


def test_unknown_method_lists_what_there_is():
    with pytest.raises(ValueError, match="method=dropout") as error:
        methods.get("dropout")
    for name in RULES:
        assert name in str(error.value)


def test_a_method_passes_through():
    method = methods.Method(coefficient=3.0)
    assert methods.get(method) is method


@each_method
def test_coefficient_is_the_methods_own_or_the_one_given(name):
    assert methods.get(name).coefficient == RULES[name][0]
    if name in without_coefficient:
        with pytest.raises(ValueError, match=f"{name} has no.*coefficient=2"):
            methods.get(name, 2.0)
        return
    method = methods.get(name, 2.0)
    assert method.coefficient == 2.0
    assert method.layer is methods.get(name).layer
    assert methods.get(name).coefficient == RULES[name][0]


@pytest.mark.parametrize("coefficient", [0.0, -1.0, float("inf"), float("nan")])
def test_coefficient_out_of_range_is_refused(coefficient):
    with pytest.raises(ValueError, match=f"positive.*={coefficient}"):
        methods.get("spectral_norm", coefficient)


@pytest.mark.parametrize("loss", sorted(ALL))
@each_method
def test_loss_goes_with_the_method_or_the_reason_is_given(name, loss):
    if loss in RULES[name][1]:
        methods.check_loss(name, loss)
        return
    with pytest.raises(ValueError, match=REASONS[name]) as error:
        methods.check_loss(name, loss)
    assert f"{name}:" in str(error.value)
    assert f"Received: loss={loss}" in str(error.value)
    for allowed in RULES[name][1]:
        assert allowed in str(error.value).partition(":")[0]


@each_method
def test_unknown_loss_is_refused(name):
    with pytest.raises(ValueError, match="relativistic. Received: loss=huber"):
        methods.check_loss(name, "huber")


@each_method
def test_penalties_are_those_of_their_methods(name):
    expected = {}
    if "gan_gp" in name:
        expected = {"gradient_penalty": 2.5}
    elif name == "r1_r2":
        expected = {"zero_centered_penalty": 2.5}
    given = None if name in without_coefficient else 2.5
    assert methods.get(name, given).arguments == expected


@each_method
def test_callbacks_are_those_of_sr_gan(name):
    callbacks = methods.get(name).callbacks()
    if not name.startswith("sr_gan_"):
        assert callbacks == []
        return
    (callback,) = callbacks
    assert (f"sr_gan_{callback.kind}", callback.every) == (name, 5)
    # Its record is that of one training.
    assert methods.get(name).callbacks() != callbacks


@pytest.mark.parametrize(
    "name", ["none", "gan_gp", "wgan_gp", "batch_norm", "layer_norm", "r1_r2"]
)
@each_layer
def test_method_without_layer_leaves_layers_alone(name, kind):
    layer_class, sizes, _ = LAYERS[kind]
    layer = layer_class(*sizes)
    before = str(layer.get_config())
    assert methods.get(name).wrap(layer) is layer
    assert str(layer.get_config()) == before


@pytest.mark.parametrize(
    ("name", "wrapper_class", "attributes"),
    [
        (
            "spectral_norm",
            SpectralNormalization,
            {"bound": 1.0, "norm": "matrix", "at_most": False},
        ),
        (
            "conv_spectral_norm",
            SpectralNormalization,
            {"bound": 1.0, "norm": "conv", "at_most": False},
        ),
        (
            "bidirectional_spectral_norm",
            SpectralNormalization,
            {"bound": 1.0, "norm": "bidirectional", "at_most": False},
        ),
        (
            "soft_spectral_norm",
            SpectralNormalization,
            {"bound": 1.0, "norm": "matrix", "at_most": True},
        ),
        ("sr_gan_static", SpectralNormalization, {"bound": 1.0}),
        ("sr_gan_dynamic", SpectralNormalization, {"bound": 1.0}),
        ("weight_norm", WeightNormalization, {"learn_scale": False}),
        ("frobenius_norm", FrobeniusNormalization, {"learn_scale": False}),
        (
            "spectral_regularization",
            SpectralRegularization,
            {"coefficient": 0.01},
        ),
        ("wgan_gp_weight_norm", WeightNormalization, {"learn_scale": True}),
        (
            "wgan_gp_frobenius_norm",
            FrobeniusNormalization,
            {"learn_scale": True},
        ),
        (
            "wgan_gp_spectral_norm",
            SpectralNormalization,
            {"learn_scale": True, "bound": 1.0},
        ),
    ],
)
@each_layer
@pytest.mark.one_backend
def test_wrapper_is_that_of_the_method(name, wrapper_class, attributes, kind):
    wrapper = wrapped(name, kind)
    assert type(wrapper) is wrapper_class
    for attribute, value in attributes.items():
        assert getattr(wrapper, attribute) == value
    prefix = "regularized" if "regularization" in name else "normalized"
    assert wrapper.name == f"{prefix}_inner"


def test_coefficient_reaches_the_layer():
    assert wrapped("spectral_norm", "dense", coefficient=3.0).bound == 3.0
    regularized = wrapped("spectral_regularization", "dense", coefficient=3.0)
    assert regularized.coefficient == 3.0
    clipped = wrapped("weight_clipping", "conv", coefficient=3.0)
    assert clipped.kernel_constraint.limit == 3.0
    orthonormal = wrapped("orthonormal", "dense", coefficient=3.0)
    assert orthonormal.kernel_regularizer.coefficient == 3.0


@each_layer
def test_weight_clipping_touches_convolutions_alone(kind):
    layer = wrapped("weight_clipping", kind)
    kernel = kernel_of(layer)
    kernel.assign(keras.ops.full(kernel.shape, 5.0))
    keras.optimizers.SGD(1.0).apply([keras.ops.zeros(kernel.shape)], [kernel])
    limit = 0.01 if kind == "conv" else 5.0
    np.testing.assert_allclose(kernel, np.full(kernel.shape, limit))


@each_layer
def test_orthonormal_starts_orthonormal_and_is_penalized(kind):
    layer = wrapped("orthonormal", kind)
    kernel = kernel_of(layer)
    matrix = np.reshape(kernel, (-1, kernel.shape[-1]))
    values = np.linalg.svd(matrix, compute_uv=False)
    np.testing.assert_allclose(values, 1, rtol=1e-5)
    (loss,) = layer.losses
    assert loss < 1e-8
    kernel.assign(2 * kernel)
    # Each squared singular value is 4, of which 1 is wanted.
    np.testing.assert_allclose(
        layer.losses, [1e-3 * 9 * len(values)], rtol=1e-4
    )


def test_orthonormal_layer_survives_its_config():
    layer = wrapped("orthonormal", "conv")
    copy = layers.Conv2D.from_config(layer.get_config())
    assert isinstance(copy.kernel_regularizer, penalties.Orthonormal)
    assert isinstance(copy.kernel_initializer, keras.initializers.Orthogonal)


@pytest.mark.parametrize("kind", ["conv", "dense"])
def test_row_for_studies_is_keras_layer_as_it_ships(kind):
    wrapper = wrapped("keras_spectral_norm", kind)
    assert type(wrapper) is layers.SpectralNormalization
    assert (wrapper.name, wrapper.power_iterations) == ("normalized_inner", 1)


@pytest.mark.parametrize("kind", ["conv", "dense"])
def test_detached_row_differs_in_the_gradient_of_sigma_alone(kind):
    """Against the layer without normalization, given W / sigma."""
    ours, detached = (
        wrapped(name, kind)
        for name in ("spectral_norm", "detached_spectral_norm")
    )
    bare = wrapped("none", kind)
    detached.set_weights(ours.get_weights())
    sigma = np.asarray(ours.spectral_norm())
    kernel = kernel_of(ours).numpy() / sigma
    bare.set_weights([kernel, bare.bias])

    def gradient(layer):
        _, (found,) = gradients.of(
            lambda: keras.ops.sum(layer(IMAGES) ** 4), [kernel_of(layer)]
        )
        return found

    in_effect = gradient(bare)
    np.testing.assert_allclose(
        gradient(detached) * sigma, in_effect, rtol=1e-4, atol=1e-5
    )
    # That of the quotient has nothing along W, which it doesn't depend on.
    along = [np.sum(gradient(layer) * kernel) for layer in (ours, detached)]
    assert abs(along[0]) < 1e-4 * abs(along[1])
    for _ in range(2):
        outputs = [layer(IMAGES, training=True) for layer in (ours, detached)]
        np.testing.assert_array_equal(*outputs)
    for one, other in zip(ours.weights, detached.weights, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", methods.FOR_STUDIES)
def test_row_for_studies_is_no_method_that_is_listed(name):
    assert name not in methods.METHODS
    for loss in ALL:
        methods.check_loss(name, loss)
    with pytest.raises(ValueError, match="has no coefficient"):
        methods.get(name, 2.0)


def test_row_for_studies_refuses_what_keras_layer_rounds():
    with pytest.raises(ValueError, match="no Embedding.*layer=inner"):
        wrapped("keras_spectral_norm", "embedding")


@pytest.mark.parametrize("name", ["batch_norm", "layer_norm"])
def test_feature_maps_are_shifted_and_not_scaled(name):
    layer = normalized_model(name).get_layer("norm")
    assert [v.name for v in layer.trainable_variables] == ["beta"]
    assert layer.trainable_variables[0].shape == (2,)


@pytest.mark.parametrize(
    ("name", "axes"), [("batch_norm", (0, 1, 2)), ("layer_norm", (1, 2, 3))]
)
@pytest.mark.parametrize("scale", [1.0, 0.005])
def test_feature_maps_match_numpy(name, axes, scale):
    model = normalized_model(name)
    beta = np.array([0.5, -2.0])
    model.trainable_variables[0].assign(beta)
    x = (IMAGES * [1.0, 3.0] + [0.0, 4.0]).astype("float32") * scale
    mean = x.mean(axes, keepdims=True, dtype="float64")
    variance = x.var(axes, keepdims=True, dtype="float64")
    np.testing.assert_allclose(
        model(x.astype("float32"), training=True),
        (x - mean) / np.sqrt(variance + 2e-5) + beta,
        rtol=1e-4,
        atol=1e-5,
    )


def test_batch_norm_decays_as_the_generators():
    model = normalized_model("batch_norm")
    model(IMAGES, training=True)
    np.testing.assert_allclose(
        model.get_layer("norm").moving_mean,
        0.1 * IMAGES.mean((0, 1, 2)),
        rtol=1e-4,
        atol=1e-6,
    )


def test_method_without_norm_leaves_feature_maps_alone():
    assert methods.get("spectral_norm").normalize(IMAGES, "norm") is IMAGES
