"""Route the operations on images, and read what their requests have in common."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from ait_lite.images.formats import FORMATS
from service.http.dependencies import TIMEOUT_HEADER
from service.http.problems import Problem, documented
from service.http.uploads import FIELD

_BINARY = {"type": "string", "format": "binary"}


def body(several: bool = True) -> dict[str, Any]:
    """Describe the request body of a route, for one image or for several."""
    form: dict[str, Any] = {"type": "array", "minItems": 1, "items": _BINARY} if several else _BINARY
    count = "one or more" if several else "one"
    return {
        "required": True,
        "description": f"One raw image, or a form with {count}. The content decides, not the type.",
        "content": {
            **{media_type: {"schema": _BINARY} for media_type in (*FORMATS, "application/octet-stream")},
            "multipart/form-data": {"schema": {"type": "object", "required": [FIELD], "properties": {FIELD: form}}},
        },
    }


TOP_K = {
    "name": "top_k",
    "in": "query",
    "description": "Labels per image; more than there are classes means all. Unset: a server setting.",
    "schema": {"type": "integer", "minimum": 1},
}
TIMEOUT = {
    "name": TIMEOUT_HEADER,
    "in": "header",
    "description": "Seconds after which the answer is of no use; the server has a limit of its own.",
    "schema": {"type": "number", "exclusiveMinimum": 0},
}
MODEL = {
    "name": "model",
    "in": "path",
    "required": True,
    "description": "Name of a model, as listed at /v1/models.",
    "schema": {"type": "string"},
}
VERSION = {
    "name": "version",
    "in": "path",
    "required": True,
    "description": "A version of the model.",
    "schema": {"type": "string"},
}


# Path, suffix of the name, parameters of the path, and what answers: the operation is asked for at each of these.
_ADDRESSES: tuple[tuple[str, str, tuple[dict[str, Any], ...], str], ...] = (
    ("/v1", "", (), "the default model"),
    ("/v1/models/{model}", "_model", (MODEL,), "the model's default version"),
    ("/v1/models/{model}/versions/{version}", "_version", (MODEL, VERSION), "one version of a model"),
)


def add_operation(
    router: APIRouter,
    operation: str,
    answer: Callable[..., Awaitable[Response]],
    *,
    description: str,
    ok: dict[str, Any],
    parameters: Sequence[dict[str, Any]] = (),
    several: bool = True,
) -> None:
    """Route an operation on images for the default model, for a model by name, and for one of its versions.

    FastAPI sees nothing but the request: `openapi_extra` describes what it holds.

    Args:
        router: Takes the routes.
        operation: Last part of the paths, and the name of the first route.
        answer: Called with the request, and with `model` and `version` where the path has them.
        description: What the operation does, with "{model}" where the model is named.
        ok: The documented answer.
        parameters: Documented parameters, besides those of the path and the timeout.
        several: Whether a request may have several images.
    """
    for prefix, suffix, own, model in _ADDRESSES:
        statuses = (400, *((404,) if own else ()), 413, 415, 422, 429, 503, 504)
        known = {each["name"] for each in parameters if each["in"] == "query"}
        router.add_api_route(
            f"{prefix}/{operation}",
            _endpoint(answer, known),
            methods=["POST"],
            name=operation + suffix,
            description=description.format(model=model),
            responses={200: ok, **documented(*statuses)},
            response_class=Response,
            openapi_extra={"requestBody": body(several), "parameters": [*own, *parameters, TIMEOUT]},
        )


def asked_top_k(request: Request) -> int | None:
    """Read `top_k` of a request; None if it says nothing.

    Raises:
        Problem: 400 if that is no number of labels.
    """
    if not request.scope["query_string"] or (text := request.query_params.get("top_k")) is None:
        return None
    if not re.fullmatch(r"\+?0*[1-9][0-9]{0,99}", text):
        raise Problem(400, "invalid-parameter", "top_k is a whole number of labels, at least 1.")
    return int(text)


def asked_integer(text: str | None, name: str, least: int, most: int) -> int | None:
    """Read a number of a request; None if it says nothing.

    Raises:
        Problem: 400 if it is no whole number from `least` to `most`.
    """
    if text is None:
        return None
    if not re.fullmatch(r"\s*[+-]?[0-9]{1,100}\s*", text) or not least <= int(text) <= most:
        raise Problem(400, "invalid-parameter", f"{name} is a whole number from {least} to {most}.")
    return int(text)


def json_response(document: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    """Write an answer as JSON; one whose members are known to fit its description needs no other care.

    A number of an array has the fewest digits that bring it back to the bit.
    """
    content = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(content, headers=headers, media_type="application/json")


def milliseconds(queue: float, decode: float, infer: float) -> dict[str, float]:
    """Make the `Timing` of an answer, from seconds."""
    return {name: round(value * 1e3, 3) for name, value in (("queue", queue), ("decode", decode), ("infer", infer))}


def check_parameters(request: Request, known: Collection[str]) -> None:
    """Refuse query parameters that would be ignored: whoever sends one expects something of it.

    Raises:
        Problem: 400 for one that is not known, or comes twice.
    """
    if not request.scope["query_string"]:
        return
    unknown = next((name for name in request.query_params if name not in known), None)
    if unknown is not None:
        takes = f"It takes {', '.join(sorted(known))}." if known else "It takes none."
        detail = f"There is no query parameter {unknown[:100]!r} here. {takes}"
        raise Problem(400, "unknown-parameter", detail)
    if len(sent := request.query_params.multi_items()) > len(request.query_params):
        twice = next(name for name, count in Counter(name for name, _ in sent).items() if count > 1)
        raise Problem(400, "invalid-parameter", f"{twice} comes more than once. Send a request for each.")


def _endpoint(
    answer: Callable[..., Awaitable[Response]], known: Collection[str]
) -> Callable[[Request], Awaitable[Response]]:
    # One function a route: the access log tells routes apart by them.
    async def endpoint(request: Request) -> Response:
        check_parameters(request, known)
        return await answer(request, **request.path_params)

    return endpoint
