"""Answer errors: the one map from errors to status codes, and the form of the answers.

That is an RFC 9457 problem document, under /v2 what the inference protocol has in its place.
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match
from starlette.types import Scope

from ait_lite.images.errors import EmptyImage, ImageError, TooManyPixels, UndecodableImage, UnsupportedFormat
from service.errors import (
    DeadlineExceeded,
    ExampleNotFound,
    ImageRejected,
    MemoryConflict,
    MemoryFull,
    MemoryInvalid,
    MemoryNotFound,
    ModelFailed,
    ModelNotFound,
    NotErased,
    QueueFull,
    RequestTooLarge,
    RequestUnderWay,
    SentTooMuch,
    ServiceError,
    ServiceUnavailable,
    StaleRevision,
    VersionNotFound,
)
from service.http.advice import advice
from service.inference_protocol import ProtocolError, TooLarge, UnsupportedEncoding
from service.observability.request_context import record_of

MEDIA_TYPE = "application/problem+json"
FULL_SECONDS = 60  # a memory has room again when somebody forgets something
UNDER_WAY_SECONDS = 5  # many images take that long, more or less

_IMAGE_STATUS: dict[type[ImageError], int] = {
    EmptyImage: 400,
    TooManyPixels: 413,
    UnsupportedFormat: 415,
    UndecodableImage: 422,
}

# In place of pydantic's words for what people get wrong most.
_RULES = {
    "missing": "this is needed, and is not there",
    "extra_forbidden": "there is no such member here; see /docs for those that there are",
}

# Status, kind and title (None is that of the status) by class; what is not named here is as its base class.
_STATUS: dict[type, tuple[int, str, str | None]] = {
    ModelNotFound: (404, "unknown-model", None),
    VersionNotFound: (404, "unknown-version", None),
    RequestTooLarge: (413, "too-many-inputs", "The request is too large"),
    SentTooMuch: (413, "too-many-bytes", "The request is too large"),
    ModelFailed: (500, "model-failed", "The model failed"),
    QueueFull: (429, "queue-full", None),
    ServiceUnavailable: (503, "unavailable", None),
    # Not 503: to ask for it again would find nothing to forget.
    NotErased: (500, "not-erased", "What was forgotten is not erased yet"),
    DeadlineExceeded: (504, "deadline-exceeded", None),
    MemoryNotFound: (404, "unknown-memory", None),
    ExampleNotFound: (404, "unknown-example", None),
    MemoryInvalid: (400, "invalid-memory", "The memory cannot be so"),
    MemoryConflict: (409, "memory-conflict", None),
    RequestUnderWay: (409, "request-under-way", None),
    StaleRevision: (412, "stale-revision", "The memory is not at the expected revision"),
    MemoryFull: (429, "memory-full", "The memory is full"),
}


class ProtocolFailure(BaseModel):
    """Any error under /v2."""

    error: str = Field(description="What is wrong, and what helps.")


class ProblemDocument(BaseModel):
    """An RFC 9457 problem."""

    type: str = Field(description="Stable name of the kind of problem, a URN.", examples=["urn:ait:empty-image"])
    title: str = Field(description="The kind of problem, in words.")
    status: int = Field(description="The HTTP status code.")
    detail: str = Field(description="What is wrong with this request, and what helps.")
    index: int | None = Field(None, description="Which file of the request is meant, from 0.")
    request_id: str | None = Field(None, description="Names the request in the server's log.")


class Problem(Exception):
    """An answer other than success, raised by a route or what it calls within `service.http`."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        title: str | None = None,
        headers: dict[str, str] | None = None,
        **members: Any,
    ) -> None:
        """Describe the answer.

        Args:
            status: The HTTP status code.
            kind: Stable name of the kind of problem, without "urn:ait:".
            detail: What is wrong with this request, and what helps.
            title: The kind of problem in words; None is the phrase of the status code.
            headers: Of the answer.
            members: Further members of the document.
        """
        super().__init__(detail)
        self.status, self.kind = status, kind
        self.headers = headers
        self.document = {
            "type": f"urn:ait:{kind}",
            "title": title or HTTPStatus(status).phrase,
            "status": status,
            "detail": detail,
            **members,
        }

    def response(self, scope: Scope) -> Response:
        """Make the answer: `application/problem+json`, or the inference protocol's form under its paths."""
        path = route_path(scope)
        if path == "/v2" or path.startswith("/v2/"):
            return JSONResponse({"error": self.document["detail"]}, self.status, self.headers)
        record = record_of(scope)
        document = {**self.document, "request_id": record.id} if record else self.document
        return JSONResponse(document, self.status, self.headers, media_type=MEDIA_TYPE)


def route_path(scope: Scope) -> str:
    """Get the path that routes are compared with: without that where the application is mounted."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    below = root and (path == root or path.startswith(f"{root}/"))
    return path[len(root) :] if below else path


def problem_of(error: ServiceError) -> Problem:
    """Map an error of the core to the problem that answers the request."""
    if isinstance(error, ImageRejected):
        cause = error.error
        members: dict[str, Any] = {} if error.index is None else {"index": error.index}
        return Problem(
            _IMAGE_STATUS[type(cause)], cause.kind, str(error) + advice(error.content), title=cause.title, **members
        )
    status, kind, title = next(_STATUS[base] for base in type(error).__mro__ if base in _STATUS)
    headers = None
    if isinstance(error, QueueFull):
        headers = {"Retry-After": str(error.whole_seconds)}
    elif isinstance(error, MemoryFull):
        headers = {"Retry-After": str(FULL_SECONDS)}
    elif isinstance(error, RequestUnderWay):
        headers = {"Retry-After": str(UNDER_WAY_SECONDS)}
    elif status == 503:
        headers = {"Retry-After": "1"}
    return Problem(status, kind, str(error), title=title, headers=headers)


def protocol_problem(error: ProtocolError) -> Problem:
    """Map a breach of the inference protocol to the problem that answers the request."""
    if isinstance(error, TooLarge):
        return Problem(413, "too-large", str(error))
    if isinstance(error, UnsupportedEncoding):
        return Problem(415, "unsupported-encoding", str(error), headers={"Accept-Encoding": "gzip, deflate"})
    return Problem(400, "malformed-request", str(error))


def key_missing(what: str) -> Problem:
    """Make the 401 problem of a request that came without a key; `what` says what the key is asked for."""
    detail = f"{what} Send it as Authorization: Bearer KEY, or as X-API-Key: KEY."
    return Problem(401, "key-missing", detail, headers={"WWW-Authenticate": "Bearer"})


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Make the `responses` argument of a route that can answer with these problems, besides 500."""
    return _documented(statuses, MEDIA_TYPE, "ProblemDocument")


def documented_protocol(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Make the same for a route of the inference protocol."""
    return _documented(statuses, "application/json", "ProtocolFailure")


def _documented(statuses: tuple[int, ...], media_type: str, schema: str) -> dict[int | str, dict[str, Any]]:
    meanings = {
        400: "The request is malformed: no image, a broken multipart body, or a bad parameter.",
        401: "A key is needed and none was sent.",
        403: "The key is not one that allows this, or what it would allow is off.",
        404: "There is no such model, version, memory or example.",
        409: "The memory is bound to another model, or is there with other options; or the Idempotency-Key is in use.",
        412: "The memory is not at the revision in If-Match, or not there, or there in spite of If-None-Match.",
        413: "Too many bytes, pixels or files.",
        415: "The content is not a JPEG, PNG or WebP image.",
        422: "The image is damaged, incomplete, or a strip too thin to be resized.",
        429: "The queue or the memory is full, or the key asks too often. Retry-After says when to try again.",
        500: "The server failed; the cause is in its log.",
        503: "The model is not loaded yet or restarting, or the server is stopping.",
        504: "The answer took longer than the deadline.",
    }
    content = {media_type: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {status: {"description": meanings[status], "content": content} for status in (*statuses, 500)}


def broken_rules(errors: Iterable[Any]) -> str:
    """Say which rules a request or its body breaks.

    Args:
        errors: Those of a validation by pydantic. Only place and rule are told: the value is whatever a client sent.
    """
    return "; ".join(
        f"{'.'.join(map(str, error['loc'])) or 'the body'}: {_RULES.get(error['type'], error['msg'])}"
        for error in errors
    )


def _methods(app: FastAPI, scope: Scope) -> list[str]:
    """List the methods that a request's path takes."""
    taken = [
        method
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
        if any(route.matches({**scope, "method": method})[0] is Match.FULL for route in app.routes)
    ]
    if not taken:
        taken = ["GET"]  # below a mount, where there are files: it has told the scope where it stands
    return ["GET", "HEAD", *taken[1:]] if "GET" in taken else taken


def install(app: FastAPI) -> None:
    """Have every error of the application answered by a problem document, or the inference protocol's form of one."""

    @app.exception_handler(Problem)
    async def on_problem(request: Request, error: Problem) -> Response:
        return error.response(request.scope)

    @app.exception_handler(ServiceError)
    async def on_service_error(request: Request, error: ServiceError) -> Response:
        return problem_of(error).response(request.scope)

    @app.exception_handler(ProtocolError)
    async def on_protocol_error(request: Request, error: ProtocolError) -> Response:
        return protocol_problem(error).response(request.scope)

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> Response:
        details = {
            404: f"There is nothing at {request.url.path}. The paths are listed at /docs.",
            405: f"{request.url.path} does not take {request.method}. See /docs.",
        }
        detail = details.get(error.status_code, str(error.detail))
        headers = dict(error.headers) if error.headers else None
        if error.status_code == 405:  # the route that refused knows only what it takes itself
            headers = {"Allow": ", ".join(_methods(app, request.scope))}
        kind = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
        return Problem(error.status_code, kind, detail, headers=headers).response(request.scope)

    @app.exception_handler(RequestValidationError)
    async def on_invalid(request: Request, error: RequestValidationError) -> Response:
        return Problem(400, "invalid-parameter", broken_rules(error.errors())).response(request.scope)

    @app.exception_handler(ClientDisconnect)
    async def on_disconnect(_: Request, __: ClientDisconnect) -> Response:
        return Response(status_code=499)  # nobody is left to read it; it is for the log
