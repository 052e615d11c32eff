"""A client that leaves."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi.testclient import TestClient
from starlette.requests import ClientDisconnect, Request

from service.http.disconnect import DEPARTURE, Departure, while_connected
from tests.support.images.service_images import encode, scene
from tests.support.servers.service_client import occupy, served_by


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


async def never_received() -> dict[str, Any]:
    raise AssertionError("a server that tells of departures is not asked for messages")


def request_on(departure: Departure) -> Request:
    return Request({"type": "http", "state": {DEPARTURE: departure}}, never_received)


def test_a_server_that_tells_of_a_departure_has_the_work_dropped() -> None:
    departure, cancelled = Departure(), False

    async def work() -> None:
        nonlocal cancelled
        asyncio.get_running_loop().call_soon(departure.happen)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled = True
            raise

    with pytest.raises(ClientDisconnect):
        asyncio.run(while_connected(request_on(departure), work()))
    assert cancelled


def test_work_for_a_client_that_left_before_is_dropped() -> None:
    departure = Departure()
    departure.happen()
    with pytest.raises(ClientDisconnect):
        asyncio.run(while_connected(request_on(departure), asyncio.sleep(3600)))


def test_a_departure_after_the_work_cancels_nothing() -> None:
    departure = Departure()

    async def answer() -> str:
        done = await while_connected(request_on(departure), asyncio.sleep(0, "done"))
        departure.happen()
        await asyncio.sleep(0)
        return done

    assert asyncio.run(answer()) == "done"


def test_a_cancellation_by_others_stays_one() -> None:
    async def cancelled() -> bool:
        waiting = asyncio.create_task(while_connected(request_on(Departure()), asyncio.sleep(3600)))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        return waiting.cancelled()

    assert asyncio.run(cancelled())
