import gradients
import keras
import numpy as np
import pytest
import small

import sngan_tf
from sngan_tf.gan import losses

REAL = np.array([[-3.0], [-0.5], [0.2], [1.5], [4.0]])
FAKE = np.array([[-2.0], [-1.0], [0.0], [0.7], [3.0]])


def log_sigmoid(x):
    return -np.logaddexp(0.0, -x)


CLOSED_FORMS = {
    "hinge": (
        lambda real, fake: (
            np.maximum(0, 1 - real).mean() + np.maximum(0, 1 + fake).mean()
        ),
        lambda fake: -fake.mean(),
    ),
    "non_saturating": (
        lambda real, fake: (
            -log_sigmoid(real).mean() - log_sigmoid(-fake).mean()
        ),
        lambda fake: -log_sigmoid(fake).mean(),
    ),
    "wasserstein": (
        lambda real, fake: fake.mean() - real.mean(),
        lambda fake: -fake.mean(),
    ),
    "relativistic": (
        lambda real, fake: -log_sigmoid(real - fake).mean(),
        lambda fake, real: -log_sigmoid(fake - real).mean(),
    ),
}


def of_generator(loss, fake, real):
    return loss.generator(*((fake, real) if loss.paired else (fake,)))


@pytest.mark.parametrize("scale", [1.0, 1e4])
@pytest.mark.parametrize("name", sorted(losses.LOSSES))
def test_matches_closed_form_for_all_sizes_of_logits(name, scale):
    loss = losses.get(name)
    discriminator, generator = CLOSED_FORMS[name]
    real, fake = REAL * scale, FAKE * scale
    np.testing.assert_allclose(
        loss.discriminator(real.astype("float32"), fake.astype("float32")),
        discriminator(real, fake),
        rtol=1e-6,
    )
    np.testing.assert_allclose(
        of_generator(loss, fake.astype("float32"), real.astype("float32")),
        generator(*((fake, real) if loss.paired else (fake,))),
        rtol=1e-6,
    )


@pytest.mark.parametrize("name", sorted(losses.LOSSES))
def test_gradient_is_finite_and_right_for_huge_logits(name):
    loss = losses.get(name)
    logits = keras.Variable([[1e4], [-1e4]])
    # Each saturates to a slope of 0 or 1 per picture, averaged over two.
    expected = {
        "hinge": ([0.0, -1.0], [-0.5, -0.5]),
        "non_saturating": ([0.0, -1.0], [0.0, -0.5]),
        "wasserstein": ([-1.0, -1.0], [-0.5, -0.5]),
        "relativistic": ([0.0, -1.0], [0.0, -1.0]),
    }[name]
    for value, slopes in zip(
        (
            lambda: loss.discriminator(logits.value, -logits.value),
            lambda: of_generator(loss, logits.value, -logits.value),
        ),
        expected,
    ):
        _, (gradient,) = gradients.of(value, [logits])
        np.testing.assert_allclose(np.ravel(gradient), slopes, atol=1e-6)


@pytest.mark.parametrize("name", sorted(losses.LOSSES))
def test_half_precision_logits_give_float32_losses(name):
    loss = losses.get(name)
    half = keras.ops.cast(REAL, "float16")
    # The mean of 20,000 logits of 100 overflows float16 on the way.
    many = keras.ops.full((20_000, 1), 100.0, dtype="float16")
    wide = np.full((20_000, 1), 100.0)
    value = loss.discriminator(half, half)
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    np.testing.assert_allclose(
        of_generator(loss, many, -many),
        CLOSED_FORMS[name][1](*((wide, -wide) if loss.paired else (wide,))),
        rtol=1e-6,
        atol=1e-40,
    )


def test_unknown_loss_lists_what_there_is():
    with pytest.raises(ValueError, match="hinge, non_saturating, wasserstein"):
        losses.get("huber")


@keras.saving.register_keras_serializable("losses_test")
def least_squares_generator_loss(fake_logits, real_logits):
    return keras.ops.mean(keras.ops.square(fake_logits - real_logits - 1))


def test_loss_of_ones_own_is_saved_with_a_gan(tf, tmp_path):
    own = losses.Loss(
        losses.hinge_discriminator_loss,
        least_squares_generator_loss,
        paired=True,
    )
    assert losses.get(own) is own
    gan = sngan_tf.GAN(*small.build("cnn", (8, 8, 1), 4, 1.0), loss=own)
    gan.save(tmp_path / "gan.keras")
    loaded = keras.models.load_model(tmp_path / "gan.keras")
    assert loaded.adversarial_loss == own
    fakes, _ = loaded._fakes(5, draw=0)
    reals = keras.random.uniform((5, 8, 8, 1))
    logits = loaded.discriminator(fakes) - loaded.discriminator(reals)
    loaded.compile("sgd", "sgd")
    parts = loaded._generator_step(5, 0, reals)
    assert float(parts["g_loss"]) == pytest.approx(
        np.mean((np.array(logits) - 1) ** 2), rel=1e-5
    )


@pytest.mark.parametrize("name", losses.LOSSES)
def test_named_loss_is_saved_by_its_name(tf, name):
    gan = sngan_tf.GAN(*small.build("cnn", (8, 8, 1), 4, 1.0), loss=name)
    assert gan.get_config()["loss"] == name
