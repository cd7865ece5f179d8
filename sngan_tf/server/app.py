"""The application: all routes, its page, and what it says on errors."""

import contextlib
import logging
import math
import pathlib

from sngan_tf import errors
from sngan_tf.server import guards
from sngan_tf.server import meters
from sngan_tf.server import pictures
from sngan_tf.server import reference
from sngan_tf.server import tensorflow_rest
from sngan_tf.server.problems import Problem
from sngan_tf.server.problems import later

with errors.extra("serve"):
    import fastapi
    import pydantic
    from fastapi.responses import HTMLResponse
    from fastapi.responses import Response
    from starlette.exceptions import HTTPException

_LOGGER = logging.getLogger(__name__)
# The one file that is ever sent; read once, so nothing else can be.
_PAGE = pathlib.Path(__file__).with_name("page.html")


class Wrong(pydantic.BaseModel):
    error: str


def build(service):
    """Returns the ASGI application of a `service.Service`."""

    @contextlib.asynccontextmanager
    async def lifespan(_):
        async with service.running():
            yield

    app = fastapi.FastAPI(
        title="sngan_tf",
        description="A generator, and its discriminator, as a server.",
        docs_url=None,  # They load from elsewhere.
        redoc_url=None,
        redirect_slashes=False,  # To whatever host was asked for.
        lifespan=lifespan,
        responses={
            status: {"model": Wrong, "description": what}
            for status, what in (
                ("4XX", "The request is wrong"),
                ("5XX", "The server is busy, late, or wrong itself"),
            )
        },
    )
    app.include_router(tensorflow_rest.routes(service))
    app.include_router(pictures.routes(service))
    app.include_router(_routes(app, service))
    for kind, answer in _ANSWERS.items():
        app.add_exception_handler(kind, answer)
    return guards.Guard(app, service)


def _routes(app, service):
    router = fastapi.APIRouter(tags=["Server"])
    page = _PAGE.read_text()

    @router.get("/", response_class=HTMLResponse, summary="The page")
    async def index():
        return page

    @router.get("/about.json", summary="What is served")
    async def about():
        model = service.generator
        return _finite(
            {
                "name": model.name,
                "version": str(model.version),
                "step": model.metadata.get("step"),
                "image_shape": model.image_shape,
                "latent_dim": model.latent_dim,
                "class_names": class_names(model),
                "card": model.card,
                "scores": model.scores,
                "spectrum": model.spectrum,
                "judges": model.discriminator is not None,
                "max_count": service.max_count,
                "max_frames": service.max_frames,
            }
        )

    @router.get("/health", summary="Whether the process answers")
    async def health():
        return {"status": "ok"}

    @router.get("/ready", summary="Whether the model does")
    async def ready():
        if not service.is_ready:
            raise later("The model is not ready yet; try again")
        return {"status": "ready"}

    @router.get("/metrics", summary="For Prometheus")
    async def metrics():
        return Response(service.meters.text(), media_type=meters.CONTENT_TYPE)

    @router.get(
        "/docs", response_class=HTMLResponse, summary="All of this to read"
    )
    async def docs():
        return reference.page(app.openapi())

    return router


def class_names(model):
    """Returns a name of each class, its number where it has none."""
    names = model.metadata.get("class_names", ())
    return [*names] or [*map(str, range(model.num_classes))]


def _finite(value):
    """Returns what JSON can hold: None for numbers that are not finite."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(x) for key, x in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(x) for x in value]
    return value


async def _problem(request, problem):
    return problem.response()


async def _invalid(request, error):
    first = error.errors()[0]
    name, received = first["loc"][-1], f"{first['input']!s:.60}"
    said = f"`{name}`: {first['msg']}"
    if first["type"] == "extra_forbidden":
        said = f"`{name}` is no parameter of {request.url.path}"
    return Problem(400, f"{said}. Received: {name}={received}").response()


async def _http(request, error):
    said = {
        404: f"There is no {request.url.path}; /docs says what there is",
        405: f"{request.url.path} can't be asked by {request.method}",
    }
    message = said.get(error.status_code, str(error.detail))
    return Problem(error.status_code, message, error.headers).response()


async def _failure(request, error):
    _LOGGER.error("%s failed", request.url.path, exc_info=error)
    return Problem(500, "The server failed; its log says how").response()


_ANSWERS = {
    Problem: _problem,
    fastapi.exceptions.RequestValidationError: _invalid,
    HTTPException: _http,
    Exception: _failure,
}
