"""Bodies take a bounded share of memory and time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import Request
from fastapi import Response as PlainResponse
from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from tests.support.servers.service_client import IMAGE, labels, post, problem
from tests.support.virtual import time as virtual_time


@pytest.mark.parametrize("announced", [True, False])
def test_too_many_bytes(client: TestClient, announced: bool) -> None:
    sent = 0

    def chunks() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += 100_000
            yield bytes(100_000)

    headers = {"content-length": "10000000"} if announced else {}
    response = client.post("/v1/classify", content=chunks(), headers=headers)
    assert "1,000,000" in problem(response, 413, "too-many-bytes")["detail"]


def test_exactly_the_limit_of_bytes(client: TestClient, settings: Settings) -> None:
    padded = IMAGE + bytes(settings.max_body_bytes - len(IMAGE))  # decoders ignore what follows the end
    assert labels(post(client, padded)) == labels(post(client))
    problem(post(client, padded + b"\0"), 413, "too-many-bytes")


def test_bodies_take_a_bounded_share_of_memory_and_time(client: TestClient, settings: Settings) -> None:
    # A second application, which is not started: what is refused for its length never gets to a model.
    app = create_app(settings.model_copy(update={"max_held_bytes": 150_000, "deadline_seconds": 0.5}))
    statuses: list[int] = []

    async def request(release: asyncio.Event, size: int) -> None:
        messages = [{"type": "http.request", "body": bytes(size), "more_body": True}]

        async def receive() -> dict[str, Any]:
            if not messages:
                await release.wait()
                return {"type": "http.disconnect"}
            return messages.pop()

        async def send(message: dict[str, Any]) -> None:
            statuses.append(message.get("status", 0))

        scope = {"type": "http", "method": "POST", "path": "/held", "query_string": b"", "headers": []}
        await app(scope, receive, send)  # type: ignore[arg-type]

    async def hold(request: Request) -> PlainResponse:
        await request.body()
        raise AssertionError("the body never ends")

    async def run() -> None:
        release = asyncio.Event()
        alone = asyncio.create_task(request(release, 200_000))  # larger than all may be together, but alone
        await asyncio.sleep(0.01)
        await request(release, 1000)
        assert statuses[0] == 429
        release.set()
        await alone
        statuses.clear()
        release.clear()
        together = asyncio.gather(*(request(release, 40_000) for _ in range(4)))
        await asyncio.sleep(0.01)
        assert statuses == [429, 0]
        release.set()
        await together
        assert statuses == [429, 0, *[499, 0] * 3]
        await request(asyncio.Event(), 1000)  # the rest of it never comes
        assert statuses[-2:] == [504, 0]

    app.add_route("/held", hold, methods=["POST"])
    virtual_time.run(run())
