"""POST /v1/memories/{memory}/recall: images in; labels, what is unknown, and the examples behind the answers out."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from service.http.dependencies import EngineDep, asked_deadline
from service.http.disconnect import while_connected
from service.http.problems import documented
from service.http.uploads import UploadLimits, read_uploads
from service.http.v1.memories_access import Least, MayRecall, MemoriesDep, MemoryName, only, set_revision
from service.http.v1.memories_schemas import (
    Counterfactual,
    EvidenceItem,
    Recollection,
    Recollections,
)
from service.http.v1.requests import TIMEOUT, body
from service.http.v1.schemas import LabelScore, Timing
from service.memories.answering.reading import Answer
from service.memories.results import Recalled
from service.observability.request_context import record_of

router = APIRouter(prefix="/v1/memories", tags=["memories"])


@router.post(
    "/{memory}/recall",
    responses=documented(400, 404, 409, 413, 415, 422, 503, 504),
    openapi_extra={"requestBody": body(), "parameters": [TIMEOUT]},
    dependencies=[only("top_k", "evidence")],
)
async def recall(
    request: Request,
    response: Response,
    engine: EngineDep,
    memories: MemoriesDep,
    memory: MemoryName,
    least: Least,
    by: MayRecall,
    top_k: Annotated[
        int | None, Query(ge=1, le=1000, description="Labels per image; unset, a server setting.")
    ] = None,
    evidence: Annotated[int, Query(ge=0, le=50, description="Examples to name per image.")] = 5,
) -> Recollections:
    """Ask a memory what images show, how sure that is, and which examples say so."""
    engine.check_open()
    settings, deadline = engine.settings, asked_deadline(request, engine)
    uploads = await read_uploads(request, UploadLimits(settings.max_body_bytes, settings.max_files))
    began = time.perf_counter()
    work = memories.recall(
        memory, uploads, evidence=evidence, top_k=top_k or settings.top_k, revision=least, deadline=deadline
    )
    recalled = await while_connected(request, work)
    set_revision(response, recalled.memory.revision)
    return Recollections(
        memory=memory,
        model=recalled.memory.binding.model,
        revision=recalled.memory.revision,
        unknown_level=recalled.memory.options.unknown_level,
        calibrated=recalled.calibrated,
        predictions=[_recollection(index, each, recalled) for index, each in enumerate(recalled.answers)],
        timing_ms=_timing(request, time.perf_counter() - began),
    )


def _recollection(index: int, answer: Answer, recalled: Recalled) -> Recollection:
    strongest = answer.strongest
    return Recollection(
        index=index,
        labels=[LabelScore(label=label, score=score) for label, score in answer.labels],
        unknown=answer.unknown,
        p_value=answer.p_value,
        reason=answer.reason,
        evidence=[
            EvidenceItem(
                id=seen.id,
                label=seen.label,
                negative=seen.negative,
                similarity=round(seen.similarity, 6),
                weight=round(seen.weight, 6),
                thumbnail=seen.id in recalled.shown,
            )
            for seen in answer.evidence
        ],
        without_strongest=None if strongest is None else Counterfactual(id=strongest, label=answer.without_strongest),
    )


def _timing(request: Request, seconds: float) -> Timing:
    """Read from the request's record where the time went."""
    record = record_of(request.scope)
    queue, decode, infer = (record.queue, record.decode, record.infer) if record else (0.0, 0.0, seconds)
    return Timing(queue=round(queue * 1e3, 3), decode=round(decode * 1e3, 3), infer=round(infer * 1e3, 3))
