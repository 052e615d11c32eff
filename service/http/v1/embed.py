"""POST …/embed: pictures in, feature vectors out."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.engine import Engine
from service.http.dependencies import asked_deadline, engine_of
from service.http.disconnect import while_connected
from service.http.problems import Problem, documented
from service.http.uploads import UploadLimits, read_uploads
from service.http.v1.explanation_schemas import Embeddings
from service.http.v1.requests import MODEL, TIMEOUT, VERSION, body, milliseconds, statuses
from service.images.upload import Upload
from service.models.registry import ServedModel

router = APIRouter(tags=["embed"])


def _documented(*parameters: dict[str, Any]) -> dict[str, Any]:
    return {
        "openapi_extra": {"requestBody": body(), "parameters": [*parameters, TIMEOUT]},
        "responses": {200: {"model": Embeddings}, **documented(*statuses(*parameters))},
        "response_class": Response,
    }


@router.post("/v1/embed", **_documented())
async def embed(request: Request) -> Response:
    """Gives feature vectors of pictures, by the default model."""
    return await _answer(request)


@router.post("/v1/models/{model}/embed", **_documented(MODEL))
async def embed_with(request: Request) -> Response:
    """Gives feature vectors of pictures, by the model's default version."""
    return await _answer(request, request.path_params["model"])


@router.post("/v1/models/{model}/versions/{version}/embed", **_documented(MODEL, VERSION))
async def embed_with_version(request: Request) -> Response:
    """Gives feature vectors of pictures, by one version of a model."""
    return await _answer(request, request.path_params["model"], request.path_params["version"])


async def _answer(request: Request, name: str | None = None, version: str | None = None) -> Response:
    engine = engine_of(request)
    engine.check_open()
    settings, deadline = engine.settings, asked_deadline(request, engine)
    with engine.models.use(name, version) as model:
        uploads = await read_uploads(request, UploadLimits(settings.max_body_bytes, settings.max_files))
        document = await while_connected(request, _embed(engine, uploads, model, deadline))
    return Response(json.dumps(document), media_type="application/json")


async def _embed(engine: Engine, uploads: list[Upload], model: ServedModel, deadline: float) -> dict[str, Any]:
    if not model.num_features:
        raise Problem(400, "no-features", f"Model {model.folder.name} gives no feature vectors. Choose another.")
    model.check_room(len(uploads), "features")
    prepared = await engine.prepare(uploads, model, deadline=deadline)
    inference = await model.infer(prepared.inputs, operation="features", deadline=deadline)
    return {
        "model": model.folder.name,
        "version": model.folder.version,
        "dimensions": model.num_features,
        "embeddings": [
            # Nine digits bring a float32 back to the bit.
            {"index": index, "features": [float(f"{value:.9g}") for value in row]}
            for index, row in enumerate(inference.outputs.tolist())
        ],
        "timing_ms": milliseconds(prepared.queue + inference.queue, prepared.decode, inference.infer),
    }
