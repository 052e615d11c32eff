"""Errors become problem documents."""

from __future__ import annotations

import json
import logging

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from tests.support.servers.service_client import post, problem


def test_unknown_places(client: TestClient) -> None:
    problem(post(client, path="/v1/models/other/classify"), 404, "unknown-model")
    problem(post(client, path="/v1/models/colours/versions/2/classify"), 404, "unknown-version")
    problem(client.get("/v1/models/other"), 404, "unknown-model")
    problem(client.get("/nowhere"), 404, "not-found")
    problem(client.get("/ui/nothing.js"), 404, "not-found")
    problem(client.get("/ui/%2e%2e/app.py"), 404, "not-found")
    response = client.get("/v1/classify")
    problem(response, 405, "method-not-allowed")
    assert response.headers["allow"] == "POST"
    response = client.post("/v1/memories/pets")
    problem(response, 405, "method-not-allowed")
    assert response.headers["allow"] == "GET, HEAD, PUT, DELETE"
    response = client.post("/ui/docs/docs.css")
    problem(response, 405, "method-not-allowed")
    assert response.headers["allow"] == "GET, HEAD"


def test_an_unexpected_error(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    app = create_app(settings)

    async def fail() -> None:
        raise RuntimeError("secret detail")

    app.add_api_route("/fail", fail)
    with caplog.at_level(logging.ERROR):
        response = TestClient(app).get("/fail")
    assert "secret" not in json.dumps(problem(response, 500, "internal-error"))
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "secret detail" in caplog.text
