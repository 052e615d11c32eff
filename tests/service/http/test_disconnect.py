"""A client that leaves."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi.testclient import TestClient

from tests.support.service_client import occupy, served_by
from tests.support.service_images import encode, scene


def test_when_the_client_leaves_its_work_is_dropped(client: TestClient) -> None:
    pool = served_by(client).decoders._pool
    messages = [{"type": "http.request", "body": encode(scene(400, 300))}, {"type": "http.disconnect"}]
    sent = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def run() -> list[Any]:
        release = occupy(pool)
        try:
            scope = {"type": "http", "method": "POST", "path": "/v1/classify", "query_string": b"", "headers": []}
            await client.app(scope, receive, send)  # type: ignore[arg-type]
            await asyncio.sleep(0)
            return [pool._work_queue.get_nowait()]
        finally:
            release.set()

    assert client.portal
    left = client.portal.call(run)
    assert sent[0]["status"] == 499
    assert all(item.future.cancelled() for item in left)
