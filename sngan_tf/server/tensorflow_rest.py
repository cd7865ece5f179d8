"""TensorFlow Serving's REST: status, metadata and predict.

As https://www.tensorflow.org/tfx/serving/api_rest describes it; `GET
/v1/models`, which lists what there is, is ours.
"""

import asyncio

import tensorflow as tf

from sngan_tf import errors
from sngan_tf.server import json_tensors
from sngan_tf.server.problems import Problem

with errors.extra("serve"):
    import fastapi
    from fastapi import Response

_DTYPES = {tf.float32: "FLOAT", tf.float64: "DOUBLE"}
_LARGE = 64 * 2**10  # Bytes of JSON, above which others go first.
_MODEL = "/v1/models/{name}"
_VERSION = "/v1/models/{name}/versions/{version}"
_PREDICT = {
    "type": "object",
    "properties": {
        "signature_name": {"type": "string"},
        "instances": {"type": "array", "items": {}},
        "inputs": {},
    },
}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": _PREDICT}},
    }
}


def routes(service):
    """Returns the routes of a `service.Service`."""
    router = fastapi.APIRouter(tags=["TensorFlow Serving"])

    def model_of(name, version=None):
        model = service.model
        if name != model.name or version not in (None, str(model.version)):
            which = f"Latest({name})"
            if version is not None:
                which = f"Specific({name}, {version})"
            raise Problem(
                404,
                f"Servable not found for request: {which}; there is "
                f"{model.name}, version {model.version}",
            )
        return model

    def asked(name, version, verb):
        if verb != "predict":
            raise Problem(
                400,
                "Models can be asked to predict alone. Received: "
                f"{name}:{verb}",
            )
        return model_of(name, version)

    async def predict(model, body):
        hop = len(body) > _LARGE
        request = await _in_thread(
            hop, json_tensors.Request, body, model.signatures
        )
        service.check_counts(request.inputs)
        outputs = await service.batcher.run(request.signature, request.inputs)
        hop = sum(array.size for array in outputs.values()) > _LARGE
        text = await _in_thread(hop, request.answer, outputs)
        return Response(text, media_type="application/json")

    @router.get("/v1/models", summary="The model that there is")
    async def models():
        model = service.model
        return {"models": [{"name": model.name, "version": str(model.version)}]}

    @router.get(_MODEL, summary="Status of a model")
    async def status(name: str):
        return _status(model_of(name))

    @router.get(f"{_MODEL}/metadata", summary="Its signatures")
    async def metadata(name: str):
        return _metadata(model_of(name))

    @router.get(_VERSION, summary="Status of a version")
    async def status_of_version(name: str, version: str):
        return _status(model_of(name, version))

    @router.get(f"{_VERSION}/metadata", summary="Signatures of a version")
    async def metadata_of_version(name: str, version: str):
        return _metadata(model_of(name, version))

    @router.post(f"{_MODEL}:{{verb}}", summary="Predict", openapi_extra=_BODY)
    async def ask(name: str, verb: str, request: fastapi.Request):
        model = asked(name, None, verb)
        return await predict(model, await request.body())

    @router.post(
        f"{_VERSION}:{{verb}}",
        summary="Predict by a version",
        openapi_extra=_BODY,
    )
    async def ask_version(
        name: str, version: str, verb: str, request: fastapi.Request
    ):
        model = asked(name, version, verb)
        return await predict(model, await request.body())

    return router


async def _in_thread(hop, function, *arguments):
    if hop:
        return await asyncio.to_thread(function, *arguments)
    return function(*arguments)


def _status(model):
    return {
        "model_version_status": [
            {
                "version": str(model.version),
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
        ]
    }


def _metadata(model):
    signatures = {
        name: {
            "inputs": _infos(name, signature.inputs),
            "outputs": _infos(name, signature.outputs),
            "method_name": "tensorflow/serving/predict",
            "defaults": {},
        }
        for name, signature in model.signatures.items()
    }
    return {
        "model_spec": {
            "name": model.name,
            "signature_name": "",
            "version": str(model.version),
        },
        "metadata": {"signature_def": {"signature_def": signatures}},
    }


def _infos(signature, specs):
    return {
        name: {
            "dtype": f"DT_{_DTYPES.get(spec.dtype, spec.dtype.name.upper())}",
            "tensor_shape": {
                "dim": [
                    {"size": str(-1 if size is None else size), "name": ""}
                    for size in (spec.shape if spec.shape.rank else ())
                ],
                "unknown_rank": spec.shape.rank is None,
            },
            "name": f"{signature}_{name}:0",
        }
        for name, spec in specs.items()
    }
