"""A run's grids of samples as pictures for a page: rows, and an animation."""

import base64
import dataclasses
import io
import re

import numpy as np

from sngan_tf import errors
from sngan_tf.gan import sampler

with errors.extra("train"):
    from PIL import Image
    from PIL import ImageDraw
    from PIL import ImageFont

_ROWS = 8
_FRAMES = (24, 12, 6)
_QUALITY = 85
_WIDTH, _HEIGHT = 640, 320
_CAPTION = 18
_FRAME_SECONDS, _LAST_SECONDS = 0.5, 2.0


@dataclasses.dataclass(frozen=True)
class Evolution:
    """Pictures of the same latents over a training, as `data:` URIs.

    Attributes:
        rows: `(step, uri)` of the first ones.
        animation: Of more of them, a WebP that plays again and again; empty
            where there are no two grids.
        steps: That it shows.
        width: Of the animation, in pixels.
        height: Of the animation, in pixels.
    """

    rows: tuple
    animation: str
    steps: tuple
    width: int
    height: int


def of(folder, image_size, most_bytes):
    """Returns the `Evolution` of a folder of grids, None without any.

    Args:
        folder: With the `step_NNNNNNNN.png` of `callbacks.SampleGrid`.
        image_size: Of a picture, in pixels.
        most_bytes: That the animation should not exceed: it has as many
            frames as that leaves.
    """
    grids = {
        int(match[1]): path
        for path in sorted(folder.glob("step_*.png"))
        if (match := re.fullmatch(r"step_(\d+)\.png", path.name))
    }
    if not grids:
        return None
    rows = tuple(
        (step, _uri(_webp([_corner(grids[step], image_size, 1)])))
        for step in _chosen([*grids], _ROWS)
    )
    if len(grids) == 1:
        return Evolution(rows, "", (), 0, 0)
    for count in _FRAMES:
        steps = _chosen([*grids], count)
        frames = _frames(grids, steps, image_size)
        content = _webp(frames)
        if len(content) <= most_bytes:
            break
    return Evolution(rows, _uri(content), steps, *frames[0].size)


def _chosen(steps, count):
    """Returns steps of which most are early, as most is to be seen then."""
    chosen = np.geomspace(1, len(steps), count).round().astype(int) - 1
    return tuple(steps[i] for i in np.unique(chosen))


def _corner(path, image_size, height=_HEIGHT):
    return Image.fromarray(
        sampler.corner(path, image_size, height, _WIDTH).squeeze()
    ).convert("RGB")


def _frames(grids, steps, image_size):
    """Returns pictures of one size, the update below each."""
    pictures = [_corner(grids[step], image_size) for step in steps]
    # Grids differ where a run went on with another count.
    width, height = (min(sizes) for sizes in zip(*(p.size for p in pictures)))
    font = ImageFont.load_default()
    frames = []
    for step, picture in zip(steps, pictures):
        frame = Image.new("RGB", (width, height + _CAPTION), "white")
        frame.paste(picture.crop((0, 0, width, height)))
        draw = ImageDraw.Draw(frame)
        text = f"update {step:,}"
        draw.text((4, height + 2), text, fill="black", font=font)
        frames.append(frame)
    return frames


def _webp(frames):
    content = io.BytesIO()
    durations = [_FRAME_SECONDS] * (len(frames) - 1) + [_LAST_SECONDS]
    frames[0].save(
        content,
        "WEBP",
        quality=_QUALITY,
        save_all=len(frames) > 1,
        append_images=frames[1:],
        duration=[int(1000 * seconds) for seconds in durations],
        loop=0,
    )
    return content.getvalue()


def _uri(content):
    return f"data:image/webp;base64,{base64.b64encode(content).decode()}"
