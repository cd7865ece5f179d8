import numpy as np
import pytest
import tensorflow as tf

from sngan_tf.gan import augmentation


def random_images(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def all_shifts(image, pixels):
    """Returns `{(rows, columns): shifted image}`, borders repeated."""
    height, width, _ = image.shape
    margins = [(pixels, pixels), (pixels, pixels), (0, 0)]
    padded = np.pad(image, margins, mode="edge")
    offsets = range(-pixels, pixels + 1)
    return {
        (i, j): padded[pixels + i :, pixels + j :][:height, :width]
        for i in offsets
        for j in offsets
    }


def shifts_of(images, shifted, pixels):
    """Returns the one shift that each image went through."""
    found = []
    for image, result in zip(images, np.asarray(shifted)):
        candidates = all_shifts(image, pixels).items()
        (shift,) = [
            k for k, image in candidates if np.array_equal(image, result)
        ]
        found.append(shift)
    return found


@pytest.mark.parametrize("pixels", [1, 2])
def test_every_shift_occurs_and_no_other(pixels):
    images = random_images(200, 5, 6, 2)
    shifted = augmentation.RandomShift(pixels)(images, (1, 2))
    shifts = shifts_of(images, shifted, pixels)
    assert len(set(shifts)) == (2 * pixels + 1) ** 2


def test_no_shift_is_the_identity():
    images = random_images(3, 4, 4, 1)
    shifted = augmentation.RandomShift(0)(images, (1, 2))
    np.testing.assert_array_equal(shifted, images)


def test_shifts_are_a_function_of_the_seed():
    images = random_images(20, 4, 4, 1)
    once, again, other = (
        augmentation.RandomShift(2)(images, seed)
        for seed in ((3, 4), (3, 4), (3, 5))
    )
    np.testing.assert_array_equal(once, again)
    assert not np.array_equal(once, other)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_gradient_is_the_transpose(jit_compile):
    """The shift is linear, so <A x, y> = <x, A^T y> and A^T y the gradient."""
    x, y = random_images(2, 4, 5, 6, 2).astype(np.float64)

    @tf.function(jit_compile=jit_compile)
    def shift_and_gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            shifted = augmentation.RandomShift(2)(x, (1, 2))
        return shifted, tape.gradient(shifted, x, output_gradients=y)

    shifted, gradient = shift_and_gradient(tf.constant(x))
    assert len(shifts_of(x, shifted, 2)) == len(x)
    np.testing.assert_allclose(np.sum(shifted * y), np.sum(x * gradient))
    # Every pixel of y reaches one pixel of x.
    np.testing.assert_allclose(
        np.sum(gradient, axis=(1, 2)), np.sum(y, axis=(1, 2))
    )


@pytest.mark.parametrize("pixels", [-1, 0.5])
def test_pixels_are_whole(pixels):
    with pytest.raises(ValueError, match=f"Received: pixels={pixels}"):
        augmentation.RandomShift(pixels)
