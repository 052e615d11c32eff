"""POST …/classify: images in, labels and scores out.

Most requests come here, so these routes take the bare request and give a finished response: routing, validation
and serialisation by FastAPI would take longer than everything else that the front does for a small image. FastAPI
has them for its description of the interface, to which `openapi_extra` adds what it cannot see.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from service.engine import Answer
from service.http.dependencies import asked_deadline, engine_of
from service.http.disconnect import while_connected
from service.http.uploads import UploadLimits, read_uploads
from service.http.v1.requests import TOP_K, add_operation, asked_top_k, milliseconds
from service.http.v1.schemas import Classification
from service.models.served_model import ServedModel

router = APIRouter(tags=["classify"])

_encode = json.JSONEncoder(ensure_ascii=False).encode


async def _answer(request: Request, model: str | None = None, version: str | None = None) -> Response:
    engine = engine_of(request)
    engine.check_open()
    settings, deadline = engine.settings, asked_deadline(request, engine)
    top_k = asked_top_k(request) or settings.top_k
    with engine.models.use(model, version) as served:
        uploads = await read_uploads(request, UploadLimits(settings.max_body_bytes, settings.max_files))
        work = engine.classify(uploads, top_k, served, deadline=deadline)
        return _response(served, await while_connected(request, work))


def _response(model: ServedModel, answer: Answer) -> Response:
    """Write a `Classification` as JSON."""
    document = {
        "model": model.folder.name,
        "version": model.folder.version,
        "calibrated": model.calibrated,
        "predictions": [
            {"index": index, "labels": [{"label": label, "score": score} for label, score in labels]}
            for index, labels in enumerate(answer.predictions)
        ],
        "timing_ms": milliseconds(answer.queue, answer.decode, answer.infer),
    }
    return Response(_encode(document).encode(), media_type="application/json")


add_operation(
    router,
    "classify",
    _answer,
    description="Classify images with {model}.",
    ok={"model": Classification},
    parameters=[TOP_K],
)


def fast_routes() -> list[BaseRoute]:
    """Make the same routes without FastAPI: where these stand first, no request comes to the others."""
    return [
        Route(route.path, _Endpoint(route.endpoint), methods=["POST"])
        for route in router.routes
        if isinstance(route, APIRoute)
    ]


class _Endpoint:
    """The bare application of a route: errors go up to the application's handlers, and need none of their own."""

    def __init__(self, answer: Callable[[Request], Awaitable[Response]]) -> None:
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._answer(Request(scope, receive, send))
        await response(scope, receive, send)
