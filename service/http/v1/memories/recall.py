"""POST /v1/memories/{memory}/recall: images in; labels, what is unknown, and the examples behind the answers out."""

from __future__ import annotations

import time
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.http.dependencies import asked_deadline, engine_of
from service.http.disconnect import while_connected
from service.http.problems import documented
from service.http.uploads import UploadLimits, read_uploads
from service.http.v1.memories.access import (
    LAST_REVISION,
    MEMORY,
    REVISION_HEADER,
    allow,
    memories_of,
    revision_headers,
)
from service.http.v1.memories.schemas import Recollections
from service.http.v1.requests import (
    TIMEOUT,
    asked_integer,
    body,
    check_parameters,
    json_response,
    milliseconds,
)
from service.memories.answering.reading import Answer
from service.memories.results import Recalled
from service.observability.request_context import record_of

router = APIRouter(prefix="/v1/memories", tags=["memories"])

_MOST_LABELS: Final = 1000
_EVIDENCE, _MOST_EVIDENCE = 5, 50
_PARAMETERS: Final[list[dict[str, Any]]] = [
    MEMORY,
    {
        "name": "top_k",
        "in": "query",
        "description": "Labels per image; unset, a server setting.",
        "schema": {"type": "integer", "minimum": 1, "maximum": _MOST_LABELS},
    },
    {
        "name": "evidence",
        "in": "query",
        "description": "Examples to name per image.",
        "schema": {"type": "integer", "minimum": 0, "maximum": _MOST_EVIDENCE, "default": _EVIDENCE},
    },
    {
        "name": REVISION_HEADER,
        "in": "header",
        "description": "The least revision that may answer, such as one's own last write's; a 503 until it can.",
        "schema": {"type": "integer", "minimum": 0, "maximum": LAST_REVISION},
    },
    TIMEOUT,
]
_QUERY: Final = frozenset(each["name"] for each in _PARAMETERS if each["in"] == "query")
_may_recall = allow("recall")


async def _answer(request: Request) -> Response:
    engine, name = engine_of(request), request.path_params["memory"]
    check_parameters(request, _QUERY)
    await _may_recall(request)
    engine.check_open()
    settings, deadline = engine.settings, asked_deadline(request, engine)
    revision = asked_integer(request.headers.get(REVISION_HEADER), REVISION_HEADER, 0, LAST_REVISION)
    query = request.query_params if request.scope["query_string"] else {}
    top_k = asked_integer(query.get("top_k"), "top_k", 1, _MOST_LABELS)
    evidence = asked_integer(query.get("evidence"), "evidence", 0, _MOST_EVIDENCE)
    uploads = await read_uploads(request, UploadLimits(settings.max_body_bytes, settings.max_files))
    began = time.perf_counter()
    work = memories_of(request).recall(
        name,
        uploads,
        evidence=_EVIDENCE if evidence is None else evidence,
        top_k=top_k or settings.top_k,
        revision=revision,
        deadline=deadline,
    )
    recalled = await while_connected(request, work)
    return _response(name, recalled, _timing(request, time.perf_counter() - began))


def _response(name: str, recalled: Recalled, timing: dict[str, float]) -> Response:
    """Write `Recollections` as JSON."""
    memory = recalled.memory
    document = {
        "memory": name,
        "model": memory.binding.model,
        "revision": memory.revision,
        "unknown_level": memory.options.unknown_level,
        "calibrated": recalled.calibrated,
        "predictions": [_recollection(index, each, recalled) for index, each in enumerate(recalled.answers)],
        "timing_ms": timing,
    }
    return json_response(document, revision_headers(memory.revision))


def _recollection(index: int, answer: Answer, recalled: Recalled) -> dict[str, Any]:
    strongest = answer.strongest
    return {
        "index": index,
        "labels": [{"label": label, "score": score} for label, score in answer.labels],
        "unknown": answer.unknown,
        "p_value": answer.p_value,
        "reason": answer.reason,
        "evidence": [
            {
                "id": seen.id,
                "label": seen.label,
                "negative": seen.negative,
                "similarity": round(seen.similarity, 6),
                "weight": round(seen.weight, 6),
                "thumbnail": seen.id in recalled.shown,
            }
            for seen in answer.evidence
        ],
        "without_strongest": None if strongest is None else {"id": strongest, "label": answer.without_strongest},
    }


def _timing(request: Request, seconds: float) -> dict[str, float]:
    """Read from the request's record where the time went."""
    record = record_of(request.scope)
    return milliseconds(record.queue, record.decode, record.infer) if record else milliseconds(0.0, 0.0, seconds)


router.add_api_route(
    "/{memory}/recall",
    _answer,
    methods=["POST"],
    name="recall",
    description="Ask a memory what images show, how sure that is, and which examples say so.",
    responses={200: {"model": Recollections}, **documented(400, 404, 409, 413, 415, 422, 429, 503, 504)},
    response_class=Response,
    openapi_extra={"requestBody": body(), "parameters": _PARAMETERS},
)
