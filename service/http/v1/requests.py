"""What the routes that take pictures have in common: how they are described, and what their requests say."""

from __future__ import annotations

import re
from typing import Any

from fastapi import Request

from ait_lite.decode import FORMATS
from service.http.dependencies import TIMEOUT_HEADER
from service.http.problems import Problem
from service.http.uploads import FIELD

_BINARY = {"type": "string", "format": "binary"}


def body(several: bool = True) -> dict[str, Any]:
    """The request body of a route, for one picture or for several."""
    form: dict[str, Any] = {"type": "array", "minItems": 1, "items": _BINARY} if several else _BINARY
    count = "one or more" if several else "one"
    return {
        "required": True,
        "description": f"One raw picture, or a form with {count}. The content decides, not the type.",
        "content": {
            **{media_type: {"schema": _BINARY} for media_type in (*FORMATS, "application/octet-stream")},
            "multipart/form-data": {"schema": {"type": "object", "required": [FIELD], "properties": {FIELD: form}}},
        },
    }


TOP_K = {
    "name": "top_k",
    "in": "query",
    "description": "Labels a picture; more than there are classes means all. Unset: a server setting.",
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


def statuses(*parameters: dict[str, Any]) -> tuple[int, ...]:
    """Problems that a route can answer with; those with a model in their path can name one that there is not."""
    return (400, *((404,) if MODEL in parameters else ()), 413, 415, 422, 429, 503, 504)


def asked_top_k(request: Request) -> int | None:
    """What a request says of `top_k`; None if it says nothing.

    Raises:
        Problem: 400 if that is no number of labels.
    """
    if not request.scope["query_string"] or (text := request.query_params.get("top_k")) is None:
        return None
    if not re.fullmatch(r"\+?0*[1-9][0-9]{0,99}", text):
        raise Problem(400, "invalid-parameter", "top_k is a whole number of labels, at least 1.")
    return int(text)


def milliseconds(queue: float, decode: float, infer: float) -> dict[str, float]:
    """The `Timing` of an answer, from seconds."""
    return {name: round(value * 1e3, 3) for name, value in (("queue", queue), ("decode", decode), ("infer", infer))}
