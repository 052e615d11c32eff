"""POST …/classify: pictures in, labels and scores out.

Most requests come here, so these routes take the bare request and give a finished response: routing, validation
and serialisation by FastAPI would take longer than everything else that the front does for a small picture. FastAPI
has them for its description of the interface, to which `openapi_extra` adds what it cannot see.
"""

from __future__ import annotations

import json
import re
from typing import Any

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from service.connection import while_connected
from service.engine import TIMEOUT_HEADER, Answer, Engine
from service.images import FORMATS
from service.problems import Problem, documented
from service.repository import ModelFolder
from service.schemas import Classification
from service.uploads import FIELD, UploadLimits, read_uploads

router = APIRouter(tags=["classify"])

_BINARY = {"type": "string", "format": "binary"}
_BODY = {
    "required": True,
    "description": "One raw picture, or a form with one or more. The content decides, not the type.",
    "content": {
        **{media_type: {"schema": _BINARY} for media_type in (*FORMATS, "application/octet-stream")},
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": [FIELD],
                "properties": {FIELD: {"type": "array", "minItems": 1, "items": _BINARY}},
            }
        },
    },
}
_TOP_K = {
    "name": "top_k",
    "in": "query",
    "description": "Labels a picture; more than there are classes means all. Unset: a server setting.",
    "schema": {"type": "integer", "minimum": 1},
}
_TIMEOUT = {
    "name": TIMEOUT_HEADER,
    "in": "header",
    "description": "Seconds after which the answer is of no use; the server has a limit of its own.",
    "schema": {"type": "number", "exclusiveMinimum": 0},
}
_MODEL = {
    "name": "model",
    "in": "path",
    "required": True,
    "description": "Name of a model, as listed at /v1/models.",
    "schema": {"type": "string"},
}
_VERSION = {
    "name": "version",
    "in": "path",
    "required": True,
    "description": "A version of the model.",
    "schema": {"type": "string"},
}


def _documented(*parameters: dict[str, Any]) -> dict[str, Any]:
    statuses = (400, 404, 413, 415, 422, 429, 503, 504) if parameters else (400, 413, 415, 422, 429, 503, 504)
    return {
        "openapi_extra": {"requestBody": _BODY, "parameters": [*parameters, _TOP_K, _TIMEOUT]},
        "responses": {200: {"model": Classification}, **documented(*statuses)},
        "response_class": Response,
    }


@router.post("/v1/classify", **_documented())
async def classify(request: Request) -> Response:
    """Classifies pictures with the default model."""
    return await _answer(request)


@router.post("/v1/models/{model}/classify", **_documented(_MODEL))
async def classify_with(request: Request) -> Response:
    """Classifies pictures with the model's default version."""
    return await _answer(request, request.path_params["model"])


@router.post("/v1/models/{model}/versions/{version}/classify", **_documented(_MODEL, _VERSION))
async def classify_with_version(request: Request) -> Response:
    """Classifies pictures with one version of a model."""
    return await _answer(request, request.path_params["model"], request.path_params["version"])


def fast_routes() -> list[BaseRoute]:
    """The same routes without FastAPI: where these stand first, no request comes to the others."""
    return [
        Route(route.path, route.endpoint, methods=["POST"]) for route in router.routes if isinstance(route, APIRoute)
    ]


async def _answer(request: Request, name: str | None = None, version: str | None = None) -> Response:
    engine: Engine = request.app.state.engine
    engine.check_open()
    settings, deadline = engine.settings, engine.deadline(request.headers)
    top_k = _top_k(request) or settings.top_k
    with engine.models.use(name, version) as model:
        uploads = await read_uploads(request, UploadLimits(settings.max_body_bytes, settings.max_files))
        work = engine.classify(uploads, top_k, model, deadline=deadline)
        return _response(model.folder, await while_connected(request, work))


def _top_k(request: Request) -> int | None:
    if not request.scope["query_string"] or (text := request.query_params.get("top_k")) is None:
        return None
    if not re.fullmatch(r"\+?0*[1-9][0-9]{0,99}", text):
        raise Problem(400, "invalid-parameter", "top_k is a whole number of labels, at least 1.")
    return int(text)


def _response(folder: ModelFolder, answer: Answer) -> Response:
    """A `Classification` as JSON."""
    document = {
        "model": folder.name,
        "version": folder.version,
        "predictions": [
            {"index": index, "labels": [{"label": label, "score": score} for label, score in labels]}
            for index, labels in enumerate(answer.predictions)
        ],
        "timing_ms": {
            "queue": round(answer.queue * 1e3, 3),
            "decode": round(answer.decode * 1e3, 3),
            "infer": round(answer.infer * 1e3, 3),
        },
    }
    return Response(json.dumps(document, ensure_ascii=False).encode(), media_type="application/json")
