"""Who may do what with memories, and what the headers of their requests say."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import urlsplit

from fastapi import Depends, Header, Path, Request, Response
from pydantic import BaseModel, ValidationError

from service.auth.keys import KeyRing, Scope, presented_key
from service.http.problems import Problem, broken_rules, key_missing
from service.http.uploads import read_body
from service.http.v1.requests import check_parameters
from service.memories.memories import Memories
from service.memories.records import ABSENT, PRESENT
from service.observability.request_context import record_of

REVISION_HEADER: Final = "Memory-Revision"
LAST_REVISION: Final = 2**62
_MOST_JSON: Final = 65_536

Body = TypeVar("Body", bound=BaseModel)


MEMORY: Final[dict[str, Any]] = {
    "name": "memory",
    "in": "path",
    "required": True,
    "description": "Name of a memory, as listed at /v1/memories.",
    "schema": {"type": "string"},
}


def memories_of(request: Request) -> Memories:
    """Get the memories of the application that a request came to."""
    memories: Memories = request.app.state.memories
    return memories


async def _get_memories(request: Request) -> Memories:  # async: FastAPI runs others on a thread
    return memories_of(request)


def allow(scope: Scope) -> Callable[[Request], Awaitable[str]]:
    """Make a dependency that lets requests pass whose key has a scope, and gives the key's name."""

    async def check(request: Request) -> str:
        if request.method not in ("GET", "HEAD"):
            _check_origin(request)
        keys: KeyRing = request.app.state.keys
        secret = presented_key(request.headers)
        key = None if secret is None else keys.find(secret)
        if keys.required:
            if key is None:
                raise key_missing("This server asks for an API key.")
            if not key.allows(scope):
                detail = f"Key {key.name} has the scope {key.scope}, and this needs {scope}. Ask who runs the server."
                raise Problem(403, "scope-missing", detail)
        elif scope != "recall" and not request.app.state.teaching_open and (key is None or not key.allows(scope)):
            raise Problem(
                403,
                "teaching-off",
                "This server listens to other machines and has no API keys, so memories can only be read. Set "
                "AIT_API_KEYS with a key of the scope teach, or AIT_ADMIN_KEY_SHA256.",
            )
        record = record_of(request.scope)
        return record.key if record and record.key else key.name if key else ""

    return check


def only(*names: str) -> Any:
    """Make a dependency that refuses query parameters with other names: whoever sends one expects something of it."""

    async def check(request: Request) -> None:
        check_parameters(request, names)

    return Depends(check)


async def read_json(request: Request, kind: type[Body]) -> Body:
    """Read a small body of JSON; an empty one stands for an object without members.

    Raises:
        Problem: 400 if it does not fit, 413 if it is too large.
    """
    body = await read_body(request, _MOST_JSON)
    try:
        return kind.model_validate_json(bytes(body) or b"{}")
    except ValidationError as error:
        raise Problem(400, "invalid-body", broken_rules(error.errors())) from None


def json_body(kind: type[BaseModel], *, required: bool) -> dict[str, Any]:
    """Describe a body that `read_json` reads."""
    schema = kind.model_json_schema(ref_template="#/components/schemas/{model}")
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}


def revision_headers(revision: int) -> dict[str, str]:
    """Make the headers of an answer that say which revision it is of."""
    return {"ETag": f'"{revision}"', REVISION_HEADER: str(revision)}


def set_revision(response: Response, revision: int) -> None:
    """Say in the headers of an answer which revision it is of."""
    response.headers.update(revision_headers(revision))


IfMatch = Annotated[
    str | None, Header(description="The revision, as in ETag, that the memory must have; any other is a 412.")
]


def _revision(if_match: str | None) -> int | None:
    if if_match is None:
        return None
    if if_match.strip() == "*":
        return PRESENT
    found = re.fullmatch(r'\s*"([0-9]{1,18})"\s*', if_match)
    if found is None:
        raise Problem(400, "invalid-parameter", 'If-Match is one revision, as in the ETag of an answer: "17", or *.')
    return int(found[1])


async def _expected(request: Request, if_match: IfMatch = None) -> int | None:
    if "if-none-match" in request.headers:  # passed over, a client would take what it has changed for new
        raise Problem(400, "invalid-parameter", "If-None-Match is for making and importing memories alone.")
    revision = _revision(if_match)
    return None if revision == PRESENT else revision  # what is not there is a 404 anyway


async def _expected_or_new(
    if_match: IfMatch = None,
    if_none_match: Annotated[
        str | None, Header(description="`*` for a memory that must not be there yet; one that is there is a 412.")
    ] = None,
) -> int | None:
    if if_none_match is None:
        return _revision(if_match)
    if if_none_match.strip() != "*" or if_match is not None:
        raise Problem(400, "invalid-parameter", "If-None-Match is * here, and comes without If-Match.")
    return ABSENT


LeastRevision = Annotated[
    int | None,
    Header(
        alias=REVISION_HEADER,
        ge=0,
        le=LAST_REVISION,
        description="The least revision that may answer, such as one's own last write's; a 503 until it can.",
    ),
]


def _check_origin(request: Request) -> None:
    """Refuse what a page of another origin has sent: a browser says so, and other clients say nothing."""
    origin = request.headers.get("origin")
    if origin is not None:
        listed = {each.strip() for each in request.app.state.engine.settings.cors_origins.split(",")}
        if origin in listed or "*" in listed:
            return
    site = request.headers.get("sec-fetch-site")
    if site is not None:  # the browser has compared them itself, whatever a proxy has made of the host
        own = site in ("same-origin", "none")
    else:
        own = origin is None or _host_of(origin) == request.headers.get("host", "").lower()
    if not own:
        raise Problem(
            403,
            "cross-origin",
            "The request comes from a web page of another origin, which may not use memories. AIT_CORS_ORIGINS names "
            "origins that may.",
        )


def _host_of(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:  # brackets that are no address
        return "none"


MemoriesDep = Annotated[Memories, Depends(_get_memories)]
MemoryName = Annotated[str, Path(description=MEMORY["description"])]
ExampleId = Annotated[str, Path(description="Of an example.")]
Expected = Annotated[int | None, Depends(_expected)]
ExpectedOrNew = Annotated[int | None, Depends(_expected_or_new)]
MayRecall = Annotated[str, Depends(allow("recall"))]
MayTeach = Annotated[str, Depends(allow("teach"))]
MayAdmin = Annotated[str, Depends(allow("admin"))]
