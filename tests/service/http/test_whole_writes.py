"""A head is written together with its body, and never kept for long."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import cast

from service.http.whole_writes import WholeWrites
from tests.support.virtual.time import run

HEAD, BODY = b"HTTP/1.1 200 OK\r\n\r\n", b"body"


@dataclass
class Transport:
    """Notes what it is told."""

    writes: list[bytes] = field(default_factory=list)
    closed: bool = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.writes.append(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def whole_writes(transport: Transport) -> WholeWrites:
    return WholeWrites(cast(asyncio.Transport, transport), asyncio.get_running_loop())


def test_a_head_goes_with_its_body_and_once() -> None:
    async def check() -> None:
        transport = Transport()
        writes = whole_writes(transport)
        writes.write(HEAD)
        writes.write(BODY)
        await asyncio.sleep(1)
        writes.write(b"more")
        assert transport.writes == [HEAD + BODY, b"more"]

    run(check())


def test_a_head_does_not_wait_for_a_body_that_takes_long() -> None:
    async def check() -> None:
        transport = Transport()
        writes = whole_writes(transport)
        writes.write(HEAD)
        await asyncio.sleep(0)
        assert transport.writes == [HEAD]
        writes.write(BODY)
        assert transport.writes == [HEAD, BODY]

    run(check())


def test_an_interim_answer_goes_at_once() -> None:
    async def check() -> None:
        transport = Transport()
        whole_writes(transport).write(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert len(transport.writes) == 1

    run(check())


def test_closing_sends_a_head_without_a_body() -> None:
    async def check() -> None:
        transport = Transport()
        writes = whole_writes(transport)
        writes.write(HEAD)
        writes.close()
        assert transport.writes == [HEAD]
        assert writes.is_closing()
        await asyncio.sleep(1)
        assert transport.writes == [HEAD]

    run(check())


def test_what_is_held_for_a_connection_that_closes_is_dropped() -> None:
    async def check() -> None:
        transport = Transport()
        writes = whole_writes(transport)
        writes.write(HEAD)
        transport.close()
        await asyncio.sleep(1)
        assert transport.writes == []

    run(check())
