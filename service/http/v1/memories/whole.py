"""/v1/memories: create, describe, examine, move and delete memories of classes."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from service.http.dependencies import EngineDep
from service.http.problems import documented
from service.http.uploads import read_body
from service.http.v1.memories.access import (
    Expected,
    ExpectedOrNew,
    LeastRevision,
    MayAdmin,
    MayRecall,
    MayTeach,
    MemoriesDep,
    MemoryName,
    json_body,
    only,
    read_json,
    set_revision,
)
from service.http.v1.memories.schemas import (
    MemoryDescription,
    MemoryHealth,
    MemoryList,
    MemoryOptions,
    Verification,
    description,
    limits,
    summary,
)
from service.memories.answering.health import Health
from service.memories.memories import Memories
from service.memories.records import Keep, Memory, Options

router = APIRouter(prefix="/v1/memories", tags=["memories"])

FILE = "application/octet-stream"
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_CREATED: dict[int | str, dict[str, Any]] = {201: {"model": MemoryDescription, "description": "It is new."}}


@router.get("", responses=documented(400, 404, 503), dependencies=[only()])
async def list_memories(memories: MemoriesDep, by: MayRecall) -> MemoryList:
    """List all memories."""
    return MemoryList(memories=[summary(memory) for memory in await memories.all()])


@router.put(
    "/{memory}",
    responses={**documented(400, 404, 409, 412, 413, 503), **_CREATED},
    openapi_extra=json_body(MemoryOptions, required=False),
    dependencies=[only()],
)
async def create_memory(
    request: Request,
    response: Response,
    memories: MemoriesDep,
    memory: MemoryName,
    expected: ExpectedOrNew,
    by: MayTeach,
) -> MemoryDescription:
    """Create a memory; one that is there already with the same options is left as it is."""
    asked = await read_json(request, MemoryOptions)
    options = Options(**asked.model_dump(exclude={"model", "start"}))
    described, new = await memories.create(memory, options, asked.model, expected, by, asked.start)
    response.status_code = 201 if new else 200
    set_revision(response, described.memory.revision)
    return description(described, memories.quotas)


@router.get("/{memory}", responses=documented(400, 404, 503), dependencies=[only()])
async def show_memory(
    response: Response, memories: MemoriesDep, memory: MemoryName, by: MayRecall, least: LeastRevision = None
) -> MemoryDescription:
    """Describe a memory: its model, options, labels and limits."""
    described = await memories.describe(memory, least)
    set_revision(response, described.memory.revision)
    return description(described, memories.quotas)


@router.delete("/{memory}", status_code=204, responses=documented(400, 404, 412, 503), dependencies=[only()])
async def delete_memory(memories: MemoriesDep, memory: MemoryName, expected: Expected, by: MayAdmin) -> None:
    """Delete a memory with all that it holds."""
    await memories.delete(memory, expected, by)


@router.get("/{memory}/health", responses=documented(400, 404, 503), dependencies=[only()])
async def memory_health(
    response: Response, memories: MemoriesDep, memory: MemoryName, by: MayRecall, least: LeastRevision = None
) -> MemoryHealth:
    """Examine a memory: what it confuses and doubts, where more images would help, and how full it is."""
    found, health = await memories.health(memory, least)
    same_file = await memories.run(memories.store.duplicates, memory, 20)
    set_revision(response, found.revision)
    return _health(memories, found, health, same_file)


@router.post("/{memory}/verify", responses=documented(400, 404, 503), dependencies=[only()])
async def verify_memory(
    response: Response, memories: MemoriesDep, memory: MemoryName, by: MayTeach, least: LeastRevision = None
) -> Verification:
    """Build the memory anew from the store and compare it, and make sure that what was forgotten is erased."""
    verified = await memories.verify(memory, least)
    set_revision(response, verified.revision)
    return Verification(
        revision=verified.revision, digest=verified.digest, equal=verified.equal, erased=verified.erased
    )


@router.get(
    "/{memory}/file",
    responses={**documented(400, 404, 503), 200: {"content": {FILE: _BINARY}}},
    response_class=Response,
    dependencies=[only("images")],
)
async def get_memory_file(
    memories: MemoriesDep,
    memory: MemoryName,
    by: MayTeach,
    images: Annotated[bool, Query(description="Whether the file holds what is kept of images.")] = True,
    least: LeastRevision = None,
) -> Response:
    """Give the whole memory as a file that `ait_lite.class_memory.ClassMemory.load` reads, and PUT takes back."""
    found, data = await memories.write_file(memory, images=images, revision=least)
    response = Response(data, media_type=FILE)
    response.headers["Content-Disposition"] = f'attachment; filename="{memory}.safetensors"'
    set_revision(response, found.revision)
    return response


@router.put(
    "/{memory}/file",
    responses={
        **documented(400, 404, 409, 412, 413, 503),
        201: {"model": MemoryDescription, "description": "It is new."},
    },
    openapi_extra={"requestBody": {"required": True, "content": {FILE: _BINARY}}},
    dependencies=[only("model", "keep")],
)
async def put_memory_file(
    request: Request,
    response: Response,
    engine: EngineDep,
    memories: MemoriesDep,
    memory: MemoryName,
    expected: ExpectedOrNew,
    by: MayAdmin,
    model: Annotated[
        str | None, Query(description="The model it belongs to; unset, the memory's or the default.")
    ] = None,
    keep: Annotated[
        Keep | None, Query(description="What a new memory keeps of images; unset, what the file's memory kept.")
    ] = None,
) -> MemoryDescription:
    """Put what a file holds in the place of all that the memory holds; it need not be there."""
    data = await read_body(request, engine.settings.max_teach_bytes)
    described, new = await memories.read_file(memory, bytes(data), model, keep, expected, by)
    response.status_code = 201 if new else 200
    set_revision(response, described.memory.revision)
    return description(described, memories.quotas)


@router.post(
    "/{memory}/rebind",
    responses=documented(400, 404, 409, 412, 413, 415, 422, 503, 504),
    dependencies=[only("model")],
)
async def rebind_memory(
    response: Response,
    memories: MemoriesDep,
    memory: MemoryName,
    expected: Expected,
    by: MayAdmin,
    model: Annotated[
        str | None, Query(description="The model; unset, the one of the same name that is served now.")
    ] = None,
) -> MemoryDescription:
    """Have another model look at the kept images, and bind the memory to it."""
    described = await memories.rebind(memory, model, expected, by)
    set_revision(response, described.memory.revision)
    return description(described, memories.quotas)


def _health(memories: Memories, memory: Memory, health: Health, same_file: list[list[str]]) -> MemoryHealth:
    full = health.fullness
    return MemoryHealth.model_validate(
        {
            "memory": memory.name,
            "revision": memory.revision,
            "examples": memory.examples,
            "limits": limits(memories.quotas),
            "bytes": memory.bytes,
            "judged": health.judged,
            "accuracy": health.accuracy,
            "width": full.width if full else 0,
            "effective_dimension": round(full.effective_dimension, 3) if full else 0.0,
            "regularisation": full.regularisation if full else None,
            "random_features": full.random_features if full else 0,
            "labels": health.labels,
            "confusions": health.confusions,
            "doubts": health.doubts,
            "same_file": same_file,
            "compared": health.compared,
            "near_duplicates": health.near_duplicates,
            "advice": health.advice,
        },
        from_attributes=True,
    )
