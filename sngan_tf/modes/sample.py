"""`--mode=sample`: pictures of a trained generator, a run's or shipped."""

import math

import keras
import numpy as np

from sngan_tf import errors
from sngan_tf import files
from sngan_tf import images as images_lib
from sngan_tf.gan import sampler as sampler_lib
from sngan_tf.networks import pretrained
from sngan_tf.runs import build
from sngan_tf.runs import fields

with errors.extra("train"):
    from PIL import Image
    from PIL import ImageDraw
    from PIL import ImageFont

_CAPTION_SIDE = 240  # Lines are not broken at less.
_MARGIN = 4
_WHITE = 255


def sample(config, workdir):
    """Writes a grid with a caption, and the bare pictures as `.npy`.

    In `samples/`, under a name that says all that they are a function of:
    `last_step_NNNNNNNN_seed_NNNNNNNN_label_N_count_N.png`, without label if
    they are of all classes in turn. Where the config names a pretrained
    generator it needs no run, and its name stands in place of the update:
    `pretrained_NAME_seed_NNNNNNNN_count_N.png`.

    Returns:
        The path of the grid.
    """
    of = _pretrained(config) if config.pretrained else _run(config, workdir)
    sampler, name, what = of
    seed, count, label = (
        config.sampling[key] for key in ("seed", "count", "label")
    )
    name += f"_seed_{seed:08d}"
    if label >= 0:
        name += f"_label_{label}"
    path = workdir.samples / f"{name}_count_{count}.png"
    images = sampler.many(seed, count, label)
    text = [f"{what}, seed {seed}"]
    if sampler.num_classes:
        text.append(_classes(config, sampler.num_classes))
    images_lib.save_png(path, _captioned(sampler_lib.grid(images), text))
    array = path.with_suffix(".npy")
    with errors.writing(array), files.replacing(array) as temporary:
        np.save(temporary, images)
    return path


def _run(config, workdir):
    """Returns a run's sampler, and its update for the name and the caption."""
    gan = build.restored_gan(config, workdir)
    step = int(keras.ops.convert_to_numpy(gan.step))
    which = config.checkpoint
    return gan.sampler, f"{which}_step_{step:08d}", f"update {step} ({which})"


def _pretrained(config):
    """Returns the same of a generator that comes with the package."""
    build.extend(config)
    fields.check(config)
    build.resolve_label(config, 0)
    build.set_up(config)
    name = config.pretrained
    generator, _ = pretrained.pretrained(name)
    sampler = sampler_lib.Sampler(generator)
    return sampler, f"pretrained_{name}", f"pretrained {name}"


def _classes(config, num_classes):
    """Returns which classes are in a grid."""
    label, count = config.sampling.label, config.sampling.count
    names = config.data.class_names or [*map(str, range(num_classes))]
    if label >= 0:
        return f"class {label}: {names[label]}"
    return f"classes in turn: {', '.join(names[:count])}"


def _captioned(grid, paragraphs):
    """Returns a uint8 grid with text below it, its own pixels unchanged."""
    font = ImageFont.load_default()
    width, channels = grid.shape[1:]
    room = max(width, _CAPTION_SIDE) - 2 * _MARGIN
    lines = [line for text in paragraphs for line in _wrap(text, room, font)]
    at, text = (_MARGIN, _MARGIN), "\n".join(lines)
    measure = ImageDraw.Draw(Image.new("L", (1, 1)))
    *_, right, bottom = measure.multiline_textbbox(at, text, font=font)
    side = max(width, math.ceil(right) + _MARGIN)
    caption = Image.new("L", (side, math.ceil(bottom) + _MARGIN), _WHITE)
    ImageDraw.Draw(caption).multiline_text(at, text, fill=0, font=font)
    beside = ((0, 0), (0, side - width), (0, 0))
    above = np.pad(grid, beside, constant_values=_WHITE)
    below = np.asarray(caption)[..., np.newaxis].repeat(channels, axis=-1)
    return np.concatenate([above, below])


def _wrap(text, width, font):
    """Returns lines of at most a width in pixels, where words allow it."""
    first, *words = text.split()
    lines = [first]
    for word in words:
        longer = f"{lines[-1]} {word}"
        if font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
