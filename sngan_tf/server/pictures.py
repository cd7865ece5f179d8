"""Pictures of a generator, and what its discriminator thinks of one."""

import asyncio
from typing import Annotated

import numpy as np

from sngan_tf import errors
from sngan_tf.server import drawing
from sngan_tf.server import json_tensors
from sngan_tf.server.problems import Problem

with errors.extra("serve"):
    import fastapi
    import pydantic
    from fastapi import Query
    from fastapi import Response

_MOST = 2**31 - 1
_Seed = Annotated[int, pydantic.Field(ge=0, le=_MOST)]
_Truncation = Annotated[float, pydantic.Field(ge=0, le=2, allow_inf_nan=False)]
_PICTURE = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {"schema": {"type": "string", "format": "binary"}}
            for kind in ("image/png", "image/jpeg")
        },
    }
}


class _Asked(pydantic.BaseModel, extra="forbid"):
    """What is in an address; nothing else may be."""

    truncation: _Truncation = 1.0


class Latents(_Asked):
    seed: _Seed = 0
    count: int = pydantic.Field(16, ge=1)


class Sample(Latents):
    label: int | None = None
    columns: int | None = pydantic.Field(None, ge=1)


class _Way(_Asked):
    start: _Seed = 0
    end: _Seed = 1
    label: int | None = None


class Walk(_Way):
    position: float = pydantic.Field(0.0, ge=0, le=1, allow_inf_nan=False)


class Animation(_Way):
    frames: int = pydantic.Field(16, ge=2)


class Picture(pydantic.BaseModel, extra="forbid"):
    label: int | None = None


def routes(service):
    """Returns the routes of a `service.Service`."""
    router = fastapi.APIRouter(tags=["Pictures"])
    reading = asyncio.Semaphore(2)  # Large ones take memory.

    def check(name, value, most):
        if value > most:
            raise Problem(
                400,
                f"`{name}` must be at most {most}. Received: {name}={value}",
            )

    async def on_the_way(asked, positions):
        ends = [
            service.inputs(seed, 1, asked.label, asked.truncation)
            for seed in (asked.start, asked.end)
        ]
        (start, labels), (end, _) = ends
        latents = drawing.between(start[0], end[0], positions)
        if labels is not None:
            labels = labels.repeat(len(latents))
        return await service.pictures(latents, labels)

    @router.get("/sample.png", summary="A grid of pictures")
    async def sample(asked: Annotated[Sample, Query()]):
        check("count", asked.count, service.max_count)
        check("columns", asked.columns or 1, service.max_count)
        inputs = service.inputs(
            asked.seed, asked.count, asked.label, asked.truncation
        )
        images = await service.pictures(*inputs)
        return await _file("png", drawing.grid_png, images, asked.columns)

    @router.get("/latents.json", summary="The latents of these")
    async def latents(asked: Annotated[Latents, Query()]):
        check("count", asked.count, service.max_count)
        found, _ = service.inputs(
            asked.seed, asked.count, truncation=asked.truncation
        )
        return {"latents": json_tensors.exact(found)}

    @router.get("/walk.png", summary="A picture between those of two seeds")
    async def walk(asked: Annotated[Walk, Query()]):
        (image,) = await on_the_way(asked, [asked.position])
        return await _file("png", drawing.single_png, image)

    @router.get("/walk.gif", summary="The way there and back, animated")
    async def animation(asked: Annotated[Animation, Query()]):
        check("frames", asked.frames, service.max_frames)
        images = await on_the_way(asked, np.linspace(0, 1, asked.frames))
        return await _file("gif", drawing.gif, images)

    @router.post(
        "/judge",
        summary="What the discriminator thinks of a picture",
        openapi_extra=_PICTURE,
    )
    async def judge(
        asked: Annotated[Picture, Query()], request: fastapi.Request
    ):
        shape = service.generator.image_shape
        service.judge.check()  # Before the work of reading.
        async with reading:
            image = await asyncio.to_thread(
                drawing.read,
                await request.body(),
                shape,
                service.limits.source_pixels,
            )
        return await service.judge.opinion(image, asked.label)

    return router


async def _file(kind, make, *arguments):
    content = await asyncio.to_thread(make, *arguments)
    return Response(content, media_type=f"image/{kind}")
