"""Describe the interface at /openapi.json."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from service.http.problems import ProblemDocument, ProtocolFailure, documented, documented_protocol

_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or the admin key."},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same, in another header."},
}
_REQUEST_ID = {
    "description": "Names the request in the server's log: what the client sent by this name, else made up.",
    "schema": {"type": "string"},
}


def operation_id(route: APIRoute) -> str:
    """Name an operation as a method of a generated client is called: by its function, under /v2 with that before."""
    return f"v2_{route.name}" if route.path == "/v2" or route.path.startswith("/v2/") else route.name


def describe(app: FastAPI, public: Collection[str], keys_required: bool) -> dict[str, Any]:
    """Describe the interface; the description is made once.

    Args:
        app: The application.
        public: Paths that need no key.
        keys_required: Whether the others always need one.
    """
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        components = schema["components"]
        components["schemas"]["ProblemDocument"] = ProblemDocument.model_json_schema()
        components["schemas"]["ProtocolFailure"] = ProtocolFailure.model_json_schema()
        components["securitySchemes"] = _SCHEMES
        components["headers"] = {"X-Request-ID": _REQUEST_ID}
        for path, operations in schema["paths"].items():
            for operation in operations.values():
                _complete(path, operation, path in public, keys_required)
        # FastAPI's own validation answer, which `problems` replaces by a 400.
        components["schemas"].pop("HTTPValidationError", None)
        components["schemas"].pop("ValidationError", None)
        app.openapi_schema = schema
    return app.openapi_schema


def _complete(path: str, operation: dict[str, Any], public: bool, keys_required: bool) -> None:
    responses = operation["responses"]
    if "application/json" in responses.get("422", {}).get("content", {}):
        schema = responses["422"]["content"]["application/json"].get("schema", {})
        if schema.get("$ref", "").endswith("/HTTPValidationError"):
            del responses["422"]
    if not public:
        operation["security"] = [{name: []} for name in _SCHEMES] + ([] if keys_required else [{}])
        refusals = documented_protocol if path == "/v2" or path.startswith("/v2/") else documented
        for status, response in refusals(401, 403, 429).items():
            responses.setdefault(str(status), response)
    for response in responses.values():
        response.setdefault("headers", {})["X-Request-ID"] = {"$ref": "#/components/headers/X-Request-ID"}
