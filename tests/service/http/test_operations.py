"""Health of the service: loading, ready, draining, failed."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from tests.support.processes.waiting import wait_for_event
from tests.support.servers.service_client import labels, post, problem, served_by


def test_health(client: TestClient) -> None:
    assert client.get("/health/live").json() == {"live": True}
    assert client.get("/health/ready").json() == {"ready": True}


def test_before_the_model_is_loaded(settings: Settings) -> None:
    early = TestClient(create_app(settings))  # not entered: the application has not been started
    assert early.get("/health/live").status_code == 200
    assert "loading" in problem(early.get("/health/ready"), 503, "unavailable")["detail"]
    response = post(early)
    problem(response, 503, "unavailable")
    assert response.headers["retry-after"]
    problem(early.get("/v1/models"), 503, "unavailable")
    problem(early.get("/v1/models/colours"), 503, "unavailable")


def test_while_draining(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = served_by(client)
    monkeypatch.setattr(engine, "_draining", False)  # is set back after the test
    assert labels(post(client))
    engine.drain()
    response = client.get("/health/ready")
    assert "stopping" in problem(response, 503, "unavailable")["detail"]
    assert response.headers["connection"] == "close"
    problem(post(client), 503, "unavailable")
    assert client.get("/health/live").status_code == 200


def test_a_model_that_cannot_be_loaded(tmp_path: Path) -> None:
    ended = threading.Event()
    app = create_app(Settings(_env_file=None, model=str(tmp_path)), lambda _: ended.set())
    with TestClient(app) as client:
        wait_for_event(ended, "loading to end")
        assert "could not be loaded" in problem(client.get("/health/ready"), 503, "unavailable")["detail"]
        assert str(tmp_path) not in client.get("/health/ready").text
        assert str(tmp_path) in str(app.state.engine.failure)
