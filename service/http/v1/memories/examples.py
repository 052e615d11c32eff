"""/v1/memories/{memory}/examples: teach, list, correct and forget."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Header, Query, Request, Response

from service.errors import ServiceError
from service.http.dependencies import EngineDep, asked_deadline, own_deadline
from service.http.disconnect import while_connected
from service.http.problems import Problem, ProblemDocument, documented, problem_of
from service.http.uploads import UploadLimits, read_uploads, spool_uploads
from service.http.v1.memories.access import (
    ExampleId,
    Expected,
    LeastRevision,
    MayRecall,
    MayTeach,
    MemoriesDep,
    MemoryName,
    json_body,
    only,
    read_json,
    revision_headers,
    set_revision,
)
from service.http.v1.memories.schemas import (
    Correction,
    ExampleDescription,
    ExampleList,
    Forgotten,
    TaughtExample,
    TaughtItem,
    TaughtMany,
    example_description,
)
from service.http.v1.requests import TIMEOUT, body
from service.images.spool import SpooledFile
from service.memories.archive import Item, Limits, unpack
from service.memories.records import NOT, Selection
from service.memories.results import Taught

router = APIRouter(prefix="/v1/memories/{memory}/examples", tags=["memories"])

_PAGE: Final = 1000
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_IMAGES = {media_type: _BINARY for media_type in ("image/jpeg", "image/png", "image/webp")}
_SIGNATURES: Final = ((b"\xff\xd8", "image/jpeg"), (b"\x89PNG", "image/png"), (b"RIFF", "image/webp"))

_TIMEOUT_OF_MANY: Final = TIMEOUT | {
    "description": "Seconds after which nothing more is stored: 504 if nothing has been, else each image says."
}
Label = Annotated[str | None, Query(description="What the images show.")]
Source = Annotated[str, Query(description="Where the images come from, to forget them by.")]


def _many_body() -> dict[str, Any]:
    described = body()
    described["description"] += (
        " A ZIP archive may stand for the images in it; folders in it, or in names, are labels."
    )
    described["content"]["application/zip"] = _BINARY
    return {"requestBody": described}


@router.get("", responses=documented(400, 404, 503), dependencies=[only("label", "source", "after", "limit")])
async def list_examples(
    response: Response,
    memories: MemoriesDep,
    memory: MemoryName,
    by: MayRecall,
    label: Annotated[
        str | None, Query(description="Only those of a label; ¬ before it means what they are not.")
    ] = None,
    source: Annotated[str | None, Query(description="Only those of a source.")] = None,
    after: Annotated[str, Query(description="The id after which the list begins.")] = "",
    limit: Annotated[int, Query(ge=1, le=_PAGE, description="Most examples of an answer.")] = 100,
    least: LeastRevision = None,
) -> ExampleList:
    """List examples by id."""
    which = None if label is None and source is None else _selection(label, source)
    # Read first, as with a single example: a revision that is too old has a change refused.
    set_revision(response, (await memories.memory(memory, least)).revision)
    found = await memories.run(memories.store.examples, memory, which, after, limit + 1)
    following = found[limit - 1].id if len(found) > limit else None
    return ExampleList(examples=[example_description(each) for each in found[:limit]], next=following)


@router.post(
    "",
    responses=documented(400, 404, 409, 412, 413, 503, 504),
    openapi_extra=_many_body() | {"parameters": [_TIMEOUT_OF_MANY]},
    dependencies=[only("label", "source")],
)
async def teach_many(
    request: Request,
    response: Response,
    engine: EngineDep,
    memories: MemoriesDep,
    memory: MemoryName,
    expected: Expected,
    by: MayTeach,
    label: Label = None,
    source: Source = "",
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=200,
            description="Names the request: sent again, it gets the first answer for a day; 409 while that is made.",
        ),
    ] = None,
) -> TaughtMany:
    """Teach many images, each on its own: the answer says what became of every one.

    An example's id is the beginning of its file's SHA-256, so that the same image is never stored twice. Images are
    stored a few at a time, and the answer comes when all have been: its status, its revision, and what a repeated
    Idempotency-Key gets are known only then. Whoever wants to see progress sends several requests.
    """
    engine.check_open()
    settings, deadline = engine.settings, own_deadline(request)
    await memories.run(memories.store.memory, memory)  # before a large body is read in vain
    files = await spool_uploads(request, UploadLimits(settings.max_teach_bytes, settings.max_teach_files))
    limits = Limits(settings.max_teach_files, settings.max_teach_bytes, settings.max_body_bytes)
    items = await memories.run(unpack, files, limits)

    async def teach() -> TaughtMany:
        work = memories.teach_many(memory, items, label or "", source, expected, by, deadline=deadline)
        return _answer(items, *await while_connected(request, work))

    if idempotency_key is None:
        answer = await teach()
    else:
        identity = await memories.run(_identity, files, label, source)
        async with memories.once(memory, idempotency_key, identity) as once:
            if once.before is None:
                answer = await teach()
                once.answer = _without_names(answer)
            else:
                answer = _with_names(once.before, items, await memories.names(items, label or "", source))
    set_revision(response, answer.revision)
    return answer


@router.delete("", responses=documented(400, 404, 412, 503), dependencies=[only("label", "source")])
async def forget_many(
    response: Response,
    memories: MemoriesDep,
    memory: MemoryName,
    expected: Expected,
    by: MayTeach,
    label: Annotated[str | None, Query(description="Of the examples; ¬ before it means what they are not.")] = None,
    source: Annotated[str | None, Query(description="Of the examples.")] = None,
) -> Forgotten:
    """Forget all examples of a label or of a source."""
    revision, count = await memories.forget(memory, _selection(label, source), expected, by)
    set_revision(response, revision)
    return Forgotten(revision=revision, forgotten=count)


@router.put(
    "/{identifier:path}",
    responses={
        **documented(400, 404, 409, 412, 413, 415, 422, 503, 504),
        201: {"model": TaughtExample, "description": "It is new."},
    },
    openapi_extra={"requestBody": body(several=False), "parameters": [TIMEOUT]},
    dependencies=[only("label", "not", "source")],
)
async def teach_example(
    request: Request,
    response: Response,
    engine: EngineDep,
    memories: MemoriesDep,
    memory: MemoryName,
    identifier: ExampleId,
    expected: Expected,
    by: MayTeach,
    label: Annotated[str | None, Query(description="What the image shows.")] = None,
    not_: Annotated[
        str | None,
        Query(alias="not", description="What it does not show, where it isn't said what it does; in place of label."),
    ] = None,
    source: Source = "",
) -> TaughtExample:
    """Teach one image under an id of one's own; sent again, it changes nothing."""
    engine.check_open()
    if (label is None) == (not_ is None):
        raise Problem(
            400, "invalid-parameter", "Say what the image shows, ?label=, or does not, ?not=: one of the two."
        )
    named, negative = (label, False) if label is not None else (not_ or "", True)
    deadline = asked_deadline(request, engine)
    (upload,) = await read_uploads(request, UploadLimits(engine.settings.max_body_bytes, files=1))
    work = memories.teach(
        memory, identifier, named, source, upload, expected, by, deadline=deadline, negative=negative
    )
    revision, taught = await while_connected(request, work)
    assert not isinstance(taught.outcome, ServiceError)
    response.status_code = 201 if taught.outcome == "created" else 200
    set_revision(response, revision)
    told = taught.label.removeprefix(NOT)
    return TaughtExample(id=taught.id, label=told, negative=negative, outcome=taught.outcome, revision=revision)


@router.get(
    "/{identifier:path}",
    responses={**documented(400, 404, 503), 200: {"model": ExampleDescription, "content": _IMAGES}},
    response_model=None,
    dependencies=[only("image")],
)
async def show_example(
    memories: MemoriesDep,
    memory: MemoryName,
    identifier: ExampleId,
    by: MayRecall,
    image: Annotated[
        Literal["thumbnail", "file"] | None, Query(description="Give what is kept of the image in place of words.")
    ] = None,
    least: LeastRevision = None,
) -> Response:
    """Describe an example, or give its image."""
    # The revision is read first: one that is too old has a change refused, one that is too new would let it through.
    headers = revision_headers((await memories.memory(memory, least)).revision)
    if image is None:
        found = await memories.run(memories.store.example, memory, identifier)
        return Response(example_description(found).model_dump_json(), headers=headers, media_type="application/json")
    data = await memories.run(lambda: memories.store.image(memory, identifier, whole=image == "file"))
    media_type = next((name for start, name in _SIGNATURES if data.startswith(start)), "application/octet-stream")
    return Response(data, headers=headers, media_type=media_type)


@router.patch(
    "/{identifier:path}",
    responses=documented(400, 404, 412, 413, 503),
    openapi_extra=json_body(Correction, required=True),
    dependencies=[only()],
)
async def correct_example(
    request: Request,
    response: Response,
    memories: MemoriesDep,
    memory: MemoryName,
    identifier: ExampleId,
    expected: Expected,
    by: MayTeach,
) -> ExampleDescription:
    """Correct what an example shows, or say what it does not show."""
    asked = await read_json(request, Correction)
    if (asked.label is None) == (asked.not_ is None):
        raise Problem(400, "invalid-body", 'Send {"label": "what it shows"} or {"not": "what it does not show"}.')
    negative = asked.label is None
    revision, example = await memories.correct(
        memory, identifier, asked.label or asked.not_ or "", negative, expected, by
    )
    set_revision(response, revision)
    return example_description(example)


@router.delete("/{identifier:path}", responses=documented(400, 404, 412, 503), dependencies=[only()])
async def forget_example(
    response: Response,
    memories: MemoriesDep,
    memory: MemoryName,
    identifier: ExampleId,
    expected: Expected,
    by: MayTeach,
) -> Forgotten:
    """Forget an example: on return nothing of it is left in any file of the store."""
    revision, count = await memories.forget(memory, Selection(id=identifier), expected, by)
    set_revision(response, revision)
    return Forgotten(revision=revision, forgotten=count)


def _selection(label: str | None, source: str | None) -> Selection:
    if (label is None) == (source is None) or not (label or source):
        raise Problem(400, "invalid-parameter", "Say which examples are meant: ?label= or ?source=, one of the two.")
    return Selection(label=label, source=source)


def _identity(files: list[SpooledFile], label: str | None, source: str) -> bytes:
    parts = [label or "", source, *(f"{file.filename or ''}\0{file.sha256()}" for file in files)]
    return "\n".join(parts).encode("utf-8", "surrogatepass")


def _answer(items: list[Item], revision: int, results: list[Taught]) -> TaughtMany:
    listed = [_item(index, item.name, taught) for index, (item, taught) in enumerate(zip(items, results, strict=True))]
    refused = sum(each.outcome == "refused" for each in listed)
    return TaughtMany(revision=revision, stored=len(listed) - refused, refused=refused, results=listed)


def _without_names(answer: TaughtMany) -> str:
    """Write an answer as it is kept: without what it says of examples, which may be forgotten before it expires.

    It is not dropped when they are: a repetition that comes late would teach again what was to be forgotten.
    """
    bare = [each.model_copy(update=dict.fromkeys(("name", "id", "label"), "")) for each in answer.results]
    return answer.model_copy(update={"results": bare}).model_dump_json()


def _with_names(kept: str, items: list[Item], names: list[tuple[str, str]]) -> TaughtMany:
    """Read an answer that was kept, with the names that a repeated request brings again."""
    answer = TaughtMany.model_validate_json(kept)
    for result, item, (identifier, label) in zip(answer.results, items, names, strict=True):
        result.name, result.id, result.label = _name(item.name), identifier, label.removeprefix(NOT)
    return answer


def _name(name: str) -> str:
    return name[:256]


def _item(index: int, name: str, taught: Taught) -> TaughtItem:
    problem = None
    if isinstance(taught.outcome, ServiceError):
        problem = ProblemDocument.model_validate(problem_of(taught.outcome).document)
    return TaughtItem(
        index=index,
        name=_name(name),
        id=taught.id,
        label=taught.label.removeprefix(NOT),
        outcome="refused" if isinstance(taught.outcome, ServiceError) else taught.outcome,
        problem=problem,
    )
