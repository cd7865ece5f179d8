"""Networks that come with the package, trained."""

import pathlib

import keras

# A folder for each, with its model card; sngan_tf/runs/keeping.py makes them.
FOLDER = pathlib.Path(__file__).parent / "weights"


def names() -> list[str]:
    """Returns the names of those that there are."""
    # A folder that is being made begins with a dot.
    return sorted(x.parent.name for x in FOLDER.glob("[!.]*/generator.keras"))


def pretrained(name: str) -> tuple[keras.Model, keras.Model]:
    """Returns a trained generator and its discriminator.

    Plain Keras models, which load without sngan_tf too, on any backend. How
    they were trained, how good they are and on whose pictures is in the
    `README.md` beside them.

    Args:
        name: One of `names()`: `"digits"`, 16 pixels, gray, or `"cifar10"`,
            32 pixels, colour.

    Returns:
        `(generator, discriminator)`: latents `(batch, 128)`, standard normal,
        to images `(batch, size, size, channels)` in [-1, 1], with averaged
        weights; and images to logits `(batch, 1)`, normalised kernels folded
        in. Call both with `training=False`.

    Raises:
        ValueError: If there is none of that name.

    Example:
        >>> generator, discriminator = sngan_tf.pretrained("digits")
        >>> images = generator(keras.random.normal((16, 128)), training=False)
    """
    if name not in names():
        raise ValueError(
            f"`name` must be one of {', '.join(names())}. Received: name={name}"
        )
    return tuple(
        keras.saving.load_model(FOLDER / name / f"{role}.keras", compile=False)
        for role in ("generator", "discriminator")
    )
