"""Model control over HTTP, and its key."""

from __future__ import annotations

import hashlib

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from tests.service.http.v2.test_routes import error


def test_model_control_is_off_by_default(client: TestClient) -> None:
    for action in ("load", "unload"):
        for headers in ({}, {"authorization": "Bearer anything"}):
            response = client.post(f"/v2/repository/models/colours/{action}", headers=headers)
            error(response, 403, "AIT_ADMIN_KEY_SHA256")
    assert client.get("/v2/models/colours/ready").json() == {"name": "colours", "ready": True}


@pytest.mark.parametrize(
    ("body", "words"),
    [(b"{", "not JSON"), (b"[]", "JSON object"), (b'{"ready": 1}', "Send true or false")],
)
def test_the_index(client: TestClient, body: bytes, words: str) -> None:
    error(client.post("/v2/repository/index", content=body), 400, words)
    for good in (b"", b" ", b"{}", b'{"ready": true}'):
        (entry,) = client.post("/v2/repository/index", content=good).json()
        assert entry == {"name": "colours", "version": "1", "state": "READY", "reason": ""}


def test_the_admin_key(settings: Settings) -> None:
    hashed = hashlib.sha256("schlüssel".encode()).hexdigest().upper()
    early = TestClient(create_app(settings.model_copy(update={"admin_key_sha256": hashed})))
    load = "/v2/repository/models/colours/load"
    for authorization in ("", "Bearer", "Bearer ", "Basic", "Basic ???", "Basic bm9jb2xvbg==", "Digest x"):
        response = early.post(load, headers={"authorization": authorization})
        error(response, 401, "Send it as Authorization: Bearer KEY")
        assert response.headers["www-authenticate"] == "Bearer"
    for key in ("wrong", hashed, "schlüssel "):
        error(early.post(load, headers={"authorization": f"Bearer  {key}x".encode()}), 403, "not the admin key")
    for authorization in ("Bearer schlüssel", "bearer  schlüssel "):
        # What is refused now is the body, which is looked at last.
        response = early.post(load, headers={"authorization": authorization.encode()}, content=b"[]")
        error(response, 400, "JSON object")
