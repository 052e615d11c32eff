"""Requests that name another host."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from service.http.middleware.trusted_host import TrustedHostMiddleware

NAMES = ("models.example.org", "*.lab.example.org", " ")


def client(*names: str) -> TestClient:
    app = Starlette(routes=[Route("/", lambda _: PlainTextResponse("answer"))])
    app.add_middleware(TrustedHostMiddleware, names=names)
    return TestClient(app)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:8000",
        "127.3.2.1",
        "localhost",
        "LOCALHOST:80",
        "a.localhost",
        "[::1]:8000",
        "localhost.",
        "models.example.org:443",
        "a.lab.example.org",
    ],
)
def test_hosts_that_are_answered(host: str) -> None:
    assert client(*NAMES).get("/", headers={"host": host}).text == "answer"


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "lab.example.org",
        "10.0.0.1",
        "[fe80::1]",
        "::2",
    ],
)
def test_hosts_that_are_refused(host: str) -> None:
    response = client(*NAMES).get("/", headers={"host": host})
    assert response.status_code == 403
    assert response.headers["content-type"] == "application/problem+json"
    assert "AIT_ALLOWED_HOSTS" in response.json()["detail"]


def test_all_names_can_be_allowed() -> None:
    assert client("*").get("/", headers={"host": "any.example"}).text == "answer"
