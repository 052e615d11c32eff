"""/v2/repository…: the model repository extension of the inference protocol."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic_core import from_json

from service.http.admin import require_admin
from service.http.dependencies import EngineDep, ModelName
from service.http.problems import documented_protocol
from service.http.uploads import read_body
from service.http.v2.schemas import IndexEntry
from service.inference_protocol import ProtocolError
from service.inference_protocol.errors import quoted

router = APIRouter(prefix="/v2/repository", tags=["model repository"])

_MAX_BODY = 64 * 1024
_STATES = {"ready": "READY", "loading": "LOADING", "unloading": "UNLOADING"}  # all others are UNAVAILABLE

_REQUEST_BODY = {
    "requestBody": {
        "required": False,
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}
_CONTROL: dict[str, Any] = {
    "openapi_extra": _REQUEST_BODY,
    "responses": {
        **documented_protocol(400, 401, 403, 404, 413, 415, 503),
        200: {"description": "Done.", "content": {}},
    },
    "response_class": Response,
    "dependencies": [Depends(require_admin)],
}


@router.post("/index", openapi_extra=_REQUEST_BODY, responses=documented_protocol(400, 413, 415, 503))
async def index(request: Request, engine: EngineDep) -> list[IndexEntry]:
    """List every version of every model, also those that do not answer; with "ready": true only those that do."""
    ready_only = (await _body(request)).get("ready", False)
    if not isinstance(ready_only, bool):
        raise ProtocolError(f"'ready' is {quoted(ready_only)}. Send true or false.")
    entries = [
        IndexEntry(
            name=status.name,
            version=status.version,
            state=_STATES.get(status.state, "UNAVAILABLE"),
            reason=status.reason,
        )
        for status in engine.models.index()
    ]
    return [entry for entry in entries if entry.state == "READY" or not ready_only]


@router.post("/models/{model}/load", **_CONTROL)
async def load(request: Request, model: ModelName) -> Response:
    """Load a model, or load it again from changed files. Needs the admin key."""
    parameters = await _parameters(request)
    if given := [name for name in parameters if name == "config" or name.startswith("file:")]:
        raise ProtocolError(
            f"The parameter {quoted(given[0])} would replace what is on disk, which is not offered. Put the model "
            "into the repository, and load it without."
        )
    await request.app.state.replication.load(model)
    return Response(status_code=200)


@router.post("/models/{model}/unload", **_CONTROL)
async def unload(request: Request, model: ModelName) -> Response:
    """Take a model out of service; what it has begun is finished. Needs the admin key."""
    await _parameters(request)  # unload_dependents: no model depends on another
    await request.app.state.replication.unload(model)
    return Response(status_code=200)


async def _body(request: Request) -> dict[str, Any]:
    body = bytes(await read_body(request, _MAX_BODY))
    try:
        document = from_json(body, allow_inf_nan=False) if body.strip() else {}
    except ValueError as error:
        raise ProtocolError(f"The body is not JSON: {error}. Correct it, or send none.") from error
    if not isinstance(document, dict):
        raise ProtocolError("The body is not a JSON object. Send one, or none.")
    return document


async def _parameters(request: Request) -> dict[str, Any]:
    parameters = (await _body(request)).get("parameters") or {}
    if not isinstance(parameters, dict):
        raise ProtocolError("'parameters' is not an object. Send an object, or none.")
    return parameters
