"""POST …/explain: one image in; what the model saw in it out."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import numpy as np
from fastapi import APIRouter, Request
from starlette.responses import Response

from ait_lite.images.pixels import Pixels, to_image
from service.engine import Engine
from service.http.dependencies import asked_deadline, engine_of
from service.http.disconnect import while_connected
from service.http.problems import Problem
from service.http.uploads import UploadLimits, read_uploads
from service.http.v1 import explanations
from service.http.v1.requests import TOP_K, add_operation, asked_top_k, json_response, milliseconds
from service.http.v1.schemas import Explanation
from service.images.overlay import overlay
from service.images.upload import Upload
from service.memories.taught_model import TaughtModel
from service.models.served_model import ServedModel
from service.scores import best_labels

router = APIRouter(tags=["explain"])

PNG = "image/png"
_CLASS = {
    "name": "class",
    "in": "query",
    "description": "The class whose patch map is wanted: a label, or an index. Unset: the most probable one.",
    "schema": {"type": "string"},
}
_OVERLAY = {
    "name": "overlay",
    "in": "query",
    "description": f"Add the maps laid over the image, as PNG files. `Accept: {PNG}` gives the patch map's alone.",
    "schema": {"type": "boolean", "default": False},
}


@dataclass(frozen=True)
class _Question:
    """The options of a request; `png` for nothing but the patch map's image."""

    class_index: int | None
    top_k: int
    overlay: bool
    png: bool


async def _answer(request: Request, model: str | None = None, version: str | None = None) -> Response:
    engine = engine_of(request)
    engine.check_open()
    deadline = asked_deadline(request, engine)
    with engine.models.use(model, version) as served:
        question = _question(request, served, engine.settings.top_k)
        (upload,) = await read_uploads(request, UploadLimits(engine.settings.max_body_bytes, files=1))
        return await while_connected(request, _explain(engine, upload, served, question, deadline))


async def _explain(
    engine: Engine, upload: Upload, model: ServedModel, question: _Question, deadline: float
) -> Response:
    if not model.explains:
        raise Problem(400, "no-explanation", _why_not(model, off=engine.settings.explain == "off"))
    region: list[float] = []

    def prepare(pixels: Pixels) -> np.ndarray:
        region[:] = model.region(*to_image(pixels).size)
        return model.prepare(pixels)

    prepared = await engine.prepare([upload], model, deadline=deadline, prepare=prepare)
    (pixels,) = prepared.inputs
    start = time.perf_counter()
    results = await model.explain(pixels, class_index=question.class_index, deadline=deadline)
    queue = prepared.queue + max(time.perf_counter() - start - results["seconds"], 0.0)
    has_map = "map" in results
    if question.png:
        if not has_map:
            raise Problem(400, "no-map", f"Model {model.folder.name} has no patch map. Ask for application/json.")
        return Response(await asyncio.to_thread(overlay, pixels, results["map"]), media_type=PNG)
    scores = model.probabilities(results["logits"][None])
    drawn = await asyncio.to_thread(explanations.overlays, results, pixels) if question.overlay else None
    document = {
        "model": model.folder.name,
        "version": model.folder.version,
        "calibrated": model.calibrated,
        "labels": [
            {"label": label, "score": score} for label, score in best_labels(scores, model.labels, question.top_k)[0]
        ],
        "grid": list(results["map"].shape) if has_map else None,
        "region": [round(edge, 6) for edge in region] if has_map else None,
        "map": explanations.patch_map(results, model.labels),
        "blocks": explanations.blocks(results),
        "without_memory": explanations.without_memory(results, model.probabilities, model.labels, question.top_k),
        "class_recall": explanations.class_recall(results, model.labels, question.top_k),
        "examples": explanations.examples(results, model.labels, scores[0]),
        "overlays": drawn,
        "timing_ms": milliseconds(queue, prepared.decode, results["seconds"]),
    }
    return json_response(document)


def _why_not(model: ServedModel, *, off: bool) -> str:
    """Say why a model is not explained, and what to do."""
    name = model.folder.name
    if off and not model.no_torch and not isinstance(model, TaughtModel):
        return (
            f"This server explains nothing: AIT_EXPLAIN=off. Start it with AIT_EXPLAIN=auto to have {name} explained."
        )
    why = f" here: {model.no_torch}." if model.no_torch else "."
    return f"Model {name} cannot be explained{why} Choose another."


def _question(request: Request, model: ServedModel, top_k: int) -> _Question:
    accepted = request.headers.get("accept", "")
    asked = request.query_params
    return _Question(
        class_index=_class_index(asked["class"], model.labels) if "class" in asked else None,
        top_k=asked_top_k(request) or top_k,
        overlay=_flag("overlay", asked.get("overlay", "false")),
        png=PNG in accepted and "application/json" not in accepted,
    )


def _class_index(text: str, labels: list[str]) -> int:
    """Find the class that a request means: labels come first, for they may be numbers themselves."""
    if text in labels:
        return labels.index(text)
    if text.isdecimal() and text.isascii() and len(text) < 10 and int(text) < len(labels):
        return int(text)
    detail = f"class is one of the model's labels, or an index from 0 to {len(labels) - 1}; /v1/models lists them."
    raise Problem(400, "invalid-parameter", detail)


def _flag(name: str, text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise Problem(400, "invalid-parameter", f"{name} is true or false.")
    return text.lower() in ("true", "1")


add_operation(
    router,
    "explain",
    _answer,
    description="Explain what {model} sees in an image.",
    ok={"model": Explanation, "content": {PNG: {"schema": {"type": "string", "format": "binary"}}}},
    parameters=[_CLASS, TOP_K, _OVERLAY],
    several=False,
)
