"""Connections within limits, over real sockets: half-closed, left, not read, too many, encrypted."""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path

import pytest
import uvicorn

from service.http.connections import ConnectionLimits
from tests.support.processes.waiting import CEILING
from tests.support.servers.bounded_server import Address, Application, everything, run, serving
from tests.support.servers.certificates import write_certificate


def test_a_half_closed_connection_is_answered() -> None:
    async def test(application: Application, _: uvicorn.Server, address: Address) -> None:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"POST /wait HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc")
        writer.write_eof()
        await application.started.wait()
        application.release.set()
        answer = await everything(reader)
        *interim, final, body = answer.split(b"\r\n\r\n")
        assert {line.split(b"\r\n")[0] for line in interim} <= {b"HTTP/1.1 100 Continue"}
        assert final.startswith(b"HTTP/1.1 200 ")
        assert body == b"3"
        assert not application.left.is_set()
        writer.close()

    run(ConnectionLimits(), test)


def test_a_client_that_has_gone_is_noticed_though_half_closed_ones_are_answered() -> None:
    async def test(application: Application, _: uvicorn.Server, address: Address) -> None:
        _, writer = await asyncio.open_connection(*address)
        writer.write(b"POST /wait HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc")
        await application.started.wait()
        writer.close()
        await application.left.wait()
        await application.told.wait()

    run(ConnectionLimits(), test)


@pytest.mark.parametrize("size", [3, 70_000, 1_000_000])
def test_a_client_that_has_gone_is_noticed_after_a_body_of_any_size(size: int) -> None:
    """Reading stops at 65,536 bytes that nobody has taken, and the end of the connection is read too."""

    async def test(application: Application, _: uvicorn.Server, address: Address) -> None:
        _, writer = await asyncio.open_connection(*address)
        head = f"POST /busy HTTP/1.1\r\nhost: a\r\ncontent-length: {size}\r\n\r\n"
        writer.write(head.encode() + b"x" * size)
        await application.started.wait()
        writer.close()
        await application.told.wait()

    run(ConnectionLimits(), test)


def test_an_answer_that_is_not_read_is_dropped() -> None:
    async def test(application: Application, server: uvicorn.Server, address: Address) -> None:
        reader, writer = await asyncio.open_connection(*address, limit=1)
        writer.write(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n")
        await application.release.wait()
        while server.server_state.connections:
            await asyncio.sleep(0.01)
        assert len(await everything(reader)) < 50_000_000
        writer.close()

    run(ConnectionLimits(write_seconds=0.2), test)


def test_a_server_that_stops_waits_for_nobody_who_does_not_read() -> None:
    async def test(application: Application, server: uvicorn.Server, address: Address) -> None:
        _, writer = await asyncio.open_connection(*address, limit=1)
        writer.write(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n")
        await application.release.wait()
        server.should_exit = True
        while server.server_state.connections:
            await asyncio.sleep(0.01)
        writer.close()

    run(ConnectionLimits(write_seconds=1e6), test)


def test_full_connections_leave_room_and_say_so(caplog: pytest.LogCaptureFixture) -> None:
    """Bare connections never keep a request out, and requests never keep out who asks after health."""

    async def ask(address: Address, path: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET " + path + b" HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        answer = await everything(reader)
        writer.close()
        return answer

    async def test(application: Application, server: uvicorn.Server, address: Address) -> None:
        bare = [await asyncio.open_connection(*address) for _ in range(40)]
        assert (await ask(address, b"/")).startswith(b"HTTP/1.1 200 ")
        assert len(server.server_state.connections) <= 8
        assert [record.getMessage() for record in caplog.records if "connections are taken" in record.getMessage()]
        busy = []
        for _ in range(8):
            busy.append(await asyncio.open_connection(*address))
            application.started.clear()
            busy[-1][1].write(b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n")
            await application.started.wait()
        assert (await ask(address, b"/")).startswith(b"HTTP/1.1 503 ")
        assert (await ask(address, b"/health/live")).startswith(b"HTTP/1.1 200 ")
        application.release.set()
        for reader, writer in [*bare, *busy]:
            writer.close()
            await everything(reader)

    with caplog.at_level(logging.WARNING):
        run(ConnectionLimits(connections=8), test)


def test_encrypted_connections_have_the_same_limits(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    trusting = ssl.create_default_context(cafile=certificate)

    async def test() -> None:
        async with serving(ConnectionLimits(head_seconds=0.5, connections=8), tls) as (_, server, address):
            idle = [await asyncio.open_connection(*address) for _ in range(20)]  # none begins a handshake
            for reader, _ in idle:
                assert await everything(reader) == b""
            reader, writer = await asyncio.open_connection(*address, ssl=trusting)
            for _ in range(2):
                writer.write(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc")
                assert (await reader.readuntil(b"\r\n\r\n3")).startswith(b"HTTP/1.1 200 ")
            writer.write(b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"a" * 100_000 + b"\r\n\r\n")
            assert (await everything(reader)).startswith(b"HTTP/1.1 431 ")
            writer.close()
            while server.server_state.connections:  # all are forgotten
                await asyncio.sleep(0.01)

    async def whole() -> None:
        async with asyncio.timeout(CEILING):
            await test()

    asyncio.run(whole())
