"""The description of the interface."""

from __future__ import annotations

import json

from fastapi.testclient import TestClient


def _media_types(method: str, path: str) -> set[str]:
    """Media types of a good answer outside of the protocol."""
    if path == "/metrics":
        return {"text/plain"}
    if method == "get" and path.endswith("/file"):
        return {"application/octet-stream"}
    media_types = {"application/json"}
    if path.endswith("/explain"):
        media_types |= {"image/png"}
    if method == "get" and path.endswith("{identifier}"):
        media_types |= {"image/jpeg", "image/png", "image/webp"}
    return media_types


def test_the_description(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    protocol = {path for path in document["paths"] if path.startswith("/v2")}
    assert document["paths"].keys() - protocol == {
        "/v1/classify",
        "/v1/models/{model}/classify",
        "/v1/models/{model}/versions/{version}/classify",
        "/v1/explain",
        "/v1/models/{model}/explain",
        "/v1/models/{model}/versions/{version}/explain",
        "/v1/embed",
        "/v1/models/{model}/embed",
        "/v1/models/{model}/versions/{version}/embed",
        "/v1/models",
        "/v1/models/{model}",
        "/v1/memories",
        "/v1/memories/{memory}",
        "/v1/memories/{memory}/examples",
        "/v1/memories/{memory}/examples/{identifier}",
        "/v1/memories/{memory}/file",
        "/v1/memories/{memory}/health",
        "/v1/memories/{memory}/rebind",
        "/v1/memories/{memory}/recall",
        "/v1/memories/{memory}/verify",
        "/health/live",
        "/health/ready",
        "/metrics",
    }
    classify = document["paths"]["/v1/models/{model}/classify"]["post"]
    assert set(classify["responses"]) == {
        "200",
        *map(str, (400, 401, 403, 404, 413, 415, 422, 429, 500, 503, 504)),
    }
    assert {"image/jpeg", "image/png", "image/webp", "multipart/form-data"} <= set(classify["requestBody"]["content"])
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for status, answer in operation["responses"].items():
                if status == "204":
                    assert "content" not in answer
                elif status not in ("200", "201"):
                    media_type = "application/json" if path in protocol else "application/problem+json"
                    assert list(answer["content"]) == [media_type]
                elif path not in protocol:
                    assert set(answer["content"]) == _media_types(method, path)
    text = json.dumps(document)
    assert "HTTPValidationError" not in text
    for name in set(part.split('"')[0] for part in text.split("#/components/schemas/")[1:]):
        assert name in document["components"]["schemas"]
