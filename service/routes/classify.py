"""POST …/classify: pictures in, labels and scores out."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Request
from starlette.requests import ClientDisconnect

from service.engine import Engine
from service.images import FORMATS
from service.problems import documented
from service.routes import EngineDep, ModelName, Version
from service.schemas import Classification, LabelScore, Prediction, Timing
from service.uploads import FIELD, UploadLimits, read_uploads

T = TypeVar("T")

router = APIRouter(tags=["classify"])

TopK = Annotated[
    int | None,
    Query(ge=1, description="Labels a picture; more than there are classes means all. Unset: a server setting."),
]

_BINARY = {"type": "string", "format": "binary"}
_REQUEST_BODY = {
    "requestBody": {
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
}
_ERRORS = documented(400, 404, 413, 415, 422, 429, 503, 504)
_DEFAULT_ERRORS = documented(400, 413, 415, 422, 429, 503, 504)


@router.post("/v1/classify", openapi_extra=_REQUEST_BODY, responses=_DEFAULT_ERRORS)
async def classify(request: Request, engine: EngineDep, top_k: TopK = None) -> Classification:
    """Classifies pictures with the default model."""
    return await _answer(request, engine, top_k)


@router.post("/v1/models/{model}/classify", openapi_extra=_REQUEST_BODY, responses=_ERRORS)
async def classify_with(request: Request, engine: EngineDep, model: ModelName, top_k: TopK = None) -> Classification:
    """Classifies pictures with the model's default version."""
    return await _answer(request, engine, top_k, model)


@router.post("/v1/models/{model}/versions/{version}/classify", openapi_extra=_REQUEST_BODY, responses=_ERRORS)
async def classify_with_version(
    request: Request, engine: EngineDep, model: ModelName, version: Version, top_k: TopK = None
) -> Classification:
    """Classifies pictures with one version of a model."""
    return await _answer(request, engine, top_k, model, version)


async def _answer(
    request: Request, engine: Engine, top_k: int | None, name: str | None = None, version: str | None = None
) -> Classification:
    engine.check_open()
    settings, deadline = engine.settings, engine.deadline(request.headers)
    with engine.models.use(name, version) as model:
        folder = model.folder
        uploads = await read_uploads(request, UploadLimits(settings.max_body_bytes, settings.max_files))
        work = engine.classify(uploads, top_k or settings.top_k, model, deadline=deadline)
        answer = await _while_connected(request, work)
    return Classification(
        model=folder.name,
        version=folder.version,
        predictions=[
            Prediction(index=index, labels=[LabelScore(label=label, score=score) for label, score in labels])
            for index, labels in enumerate(answer.predictions)
        ],
        timing_ms=Timing(
            queue=round(answer.queue * 1e3, 3),
            decode=round(answer.decode * 1e3, 3),
            infer=round(answer.infer * 1e3, 3),
        ),
    )


async def _while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Awaits the work, but cancels it as soon as the client leaves.

    Raises:
        ClientDisconnect: the client left first.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()
        gone.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
