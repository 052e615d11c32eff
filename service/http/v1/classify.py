"""POST …/classify: images in, labels and scores out."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.engine import Answer
from service.http.dependencies import asked_deadline, engine_of
from service.http.disconnect import while_connected
from service.http.uploads import UploadLimits, read_uploads
from service.http.v1.requests import TOP_K, add_operation, asked_top_k, json_response, milliseconds
from service.http.v1.schemas import Classification
from service.models.served_model import ServedModel

router = APIRouter(tags=["classify"])


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
    return json_response(document)


add_operation(
    router,
    "classify",
    _answer,
    description="Classify images with {model}.",
    ok={"model": Classification},
    parameters=[TOP_K],
)
