"""POST …/embed: images in, feature vectors out."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.engine import Engine
from service.http.dependencies import asked_deadline, engine_of
from service.http.disconnect import while_connected
from service.http.problems import Problem
from service.http.uploads import UploadLimits, read_uploads
from service.http.v1.requests import add_operation, json_response, milliseconds
from service.http.v1.schemas import Embeddings
from service.images.upload import Upload
from service.models.served_model import ServedModel

router = APIRouter(tags=["embed"])


async def _answer(request: Request, model: str | None = None, version: str | None = None) -> Response:
    engine = engine_of(request)
    engine.check_open()
    settings, deadline = engine.settings, asked_deadline(request, engine)
    with engine.models.use(model, version) as served:
        uploads = await read_uploads(request, UploadLimits(settings.max_body_bytes, settings.max_files))
        return json_response(await while_connected(request, _embed(engine, uploads, served, deadline)))


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
        "embeddings": [{"index": index, "features": row} for index, row in enumerate(inference.outputs)],
        "timing_ms": milliseconds(prepared.queue + inference.queue, prepared.decode, inference.infer),
    }


add_operation(
    router,
    "embed",
    _answer,
    description="Give feature vectors of images, by {model}.",
    ok={"model": Embeddings},
)
