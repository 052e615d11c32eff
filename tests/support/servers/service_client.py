"""Requests to the service, and what tests read from its answers."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi.testclient import TestClient
from httpx import Response

from service.engine import Engine
from tests.support.images.service_images import encode, scene
from tests.support.processes.waiting import wait_for

LABELS = ["red", "green", "blue"]
IMAGE = encode(scene())


def wait_until_ready(client: TestClient) -> None:
    """Return once the service answers with its models."""
    wait_for(lambda: client.get("/health/ready").status_code == 200, "the model to be loaded")


def post(client: TestClient, data: bytes = IMAGE, path: str = "/v1/classify", **options: Any) -> Response:
    """Send an image."""
    return client.post(path, content=data, **options)


def labels(response: Response) -> list[list[dict[str, Any]]]:
    """Return the labels of each image from an answer that must be a good one."""
    assert response.status_code == 200, response.text
    return [each["labels"] for each in response.json()["predictions"]]


def problem(response: Response, status: int, kind: str) -> dict[str, Any]:
    """Return the problem document of an answer, which must be one of that status and kind."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["status"] == status
    assert document["type"] == f"urn:ait:{kind}"
    assert document["title"]
    assert document["detail"]
    assert "Traceback" not in response.text
    return dict(document)


def served_by(client: TestClient) -> Engine:
    """Return the engine behind a client."""
    engine: Engine = client.app.state.engine  # type: ignore[attr-defined]
    return engine


def occupy(pool: ThreadPoolExecutor) -> threading.Event:
    """Keep all threads of a pool busy until the event that is returned is set."""
    release, begun = threading.Event(), threading.Semaphore(0)

    def wait() -> None:
        begun.release()
        release.wait()

    for _ in range(pool._max_workers):
        pool.submit(wait)
    for _ in range(pool._max_workers):
        begun.acquire()
    return release
