"""The description of the interface."""

from __future__ import annotations

import json

from fastapi.testclient import TestClient


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
        for operation in operations.values():
            for status, answer in operation["responses"].items():
                if status != "200":
                    media_type = "application/json" if path in protocol else "application/problem+json"
                    assert list(answer["content"]) == [media_type]
                elif path not in protocol:
                    media_types = {"text/plain"} if path == "/metrics" else {"application/json"}
                    if path.endswith("/explain"):
                        media_types |= {"image/png"}
                    assert set(answer["content"]) == media_types
    text = json.dumps(document)
    assert "HTTPValidationError" not in text
    for name in set(part.split('"')[0] for part in text.split("#/components/schemas/")[1:]):
        assert name in document["components"]["schemas"]
