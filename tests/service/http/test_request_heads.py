"""Heads of requests, over real sockets: how large and how slow they may be, and which are refused."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
import uvicorn

from service.http.connections import ConnectionLimits
from tests.support.servers.bounded_server import Address, Application, everything, run


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"x-large: " + b"a" * 100_000 + b"\r\n", "head-too-large"),
        (b"".join(b"x-%d: a\r\n" % number for number in range(200)), "too-many-headers"),
    ],
    ids=["one large value", "many fields"],
)
def test_a_head_beyond_the_limits_is_refused(head: bytes, kind: str) -> None:
    async def test(application: Application, _: uvicorn.Server, address: Address) -> None:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n" + head + b"\r\n")
        answer = await everything(reader)
        assert answer.startswith(b"HTTP/1.1 431 ")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["type"] == f"urn:ait:{kind}"
        assert not application.started.is_set()
        writer.close()

    run(ConnectionLimits(), test)


def test_the_parser_is_never_fed_more_of_a_head_than_the_limit() -> None:
    async def test(_: Application, server: uvicorn.Server, address: Address) -> None:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET /v2/health/live HTTP/1.1\r\nx-large: ")
        await writer.drain()
        while not server.server_state.connections:
            await asyncio.sleep(0.001)
        (connection,) = server.server_state.connections
        fed = 0
        feed = connection.parser.feed_data

        class Parser:
            def __getattr__(self, name: str) -> Any:
                return getattr(parser, name)

            def feed_data(self, data: bytes) -> None:
                nonlocal fed
                fed += len(data)
                feed(data)

        parser, connection.parser = connection.parser, Parser()
        try:
            for _ in range(1000):
                writer.write(b"a" * 100_000)
                await writer.drain()
        except ConnectionError:
            pass
        answer = await everything(reader)
        assert fed <= 65_537
        if answer:  # a reset may have overtaken it
            assert answer.startswith(b"HTTP/1.1 431 ")
            assert answer.endswith(b'{"error": "The head is larger than 65,536 bytes."}')
        writer.close()

    run(ConnectionLimits(), test)


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"GET / HT", b"GET / HTTP/1.1\r\nhost: a\r\n"])
def test_a_head_that_is_not_finished_in_time_ends_the_connection(sent: bytes) -> None:
    """Who has begun a request is told why; who has only connected expects no answer."""

    async def test(_: Application, server: uvicorn.Server, address: Address) -> None:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(sent)
        answer = await everything(reader)
        if sent.strip():
            assert answer.startswith(b"HTTP/1.1 400 ")
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["type"] == "urn:ait:incomplete-request"
        else:
            assert answer == b""
        writer.close()
        while server.server_state.connections:
            await asyncio.sleep(0.01)

    run(ConnectionLimits(head_seconds=0.2), test)


def test_the_head_of_a_later_request_has_a_time_too() -> None:
    async def test(_: Application, __: uvicorn.Server, address: Address) -> None:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n0")
        writer.write(b"GET / HTTP/1.1\r\nx: ")
        assert (await everything(reader)).startswith(b"HTTP/1.1 400 ")
        writer.close()

    run(ConnectionLimits(head_seconds=0.5), test)


@pytest.mark.parametrize("half_closed", [False, True])
def test_what_cannot_be_read_behind_a_request_leaves_its_answer_alone(
    half_closed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(application: Application, _: uvicorn.Server, address: Address) -> None:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\nnonsense\r\n\r\n")
        if half_closed:
            writer.write_eof()
        await application.started.wait()
        application.release.set()
        answer = (await everything(reader)).replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.count(b"HTTP/1.1 ") == 1
        writer.close()

    run(ConnectionLimits(), test)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nHost: b\r\n",
        b"GET / HTTP/1.1\r\nhost: a:x\r\n",
        b"GET / HTTP/1.1\r\nhost: a:123456\r\n",
        b"GET / HTTP/1.1\r\nhost: [::1\r\n",
        b"GET / HTTP/1.1\r\nhost: [::1]x\r\n",
        b"GET / HTTP/1.1\r\nhost: a, b\r\n",
        b"GET / HTTP/1.1\r\nhost: a@b\r\n",
        b"GET / HTTP/1.1\r\nhost: a/b\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nauthorization: Bearer a\r\nauthorization: Bearer b\r\n",
        b"GET / HTTP/2.0\r\nhost: a\r\n",
        b"GET /\r\nhost: a\r\n",
    ],
)
def test_a_head_that_can_be_read_in_two_ways_is_refused(head: bytes) -> None:
    async def test(application: Application, _: uvicorn.Server, address: Address) -> None:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(head + b"\r\n")
        answer = await everything(reader)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["type"] == "urn:ait:malformed-request"
        assert not application.started.is_set()
        writer.close()

    run(ConnectionLimits(), test)


def test_hosts_with_and_without_a_port_are_answered() -> None:
    async def test(_: Application, __: uvicorn.Server, address: Address) -> None:
        reader, writer = await asyncio.open_connection(*address)
        for host in (b"a", b"a.example:80", b"a:", b"", b"[::1]:8000", b"[fe80::1%eth0]", b"::1"):
            writer.write(b"GET / HTTP/1.1\r\nhost: " + host + b"\r\n\r\n")
            assert (await reader.readuntil(b"\r\n\r\n0")).startswith(b"HTTP/1.1 200 ")
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        assert (await everything(reader)).startswith(b"HTTP/1.1 200 ")
        writer.close()

    run(ConnectionLimits(), test)


@pytest.mark.parametrize("upgrade", [b"h2c", b"websocket"])
@pytest.mark.parametrize("body", [b"", b"abc"])
def test_a_request_for_another_protocol_is_answered_in_this_one(
    upgrade: bytes, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """And so is what comes behind it, at once or later."""

    async def test(_: Application, __: uvicorn.Server, address: Address) -> None:
        reader, writer = await asyncio.open_connection(*address)
        wish = b"connection: upgrade, http2-settings\r\nupgrade: " + upgrade + b"\r\nhttp2-settings: AAMAAABk\r\n"
        length = b"content-length: %d\r\n" % len(body) if body else b""
        request = b"POST / HTTP/1.1\r\nhost: a\r\n" + wish + length + b"\r\n" + body
        writer.write(request * 3)
        for again in (True, False):
            for _request in range(3):
                assert (await reader.readuntil(b"\r\n\r\n%d" % len(body))).startswith(b"HTTP/1.1 200 ")
            if again:
                writer.write(request * 2 + request.replace(wish, b"connection: close\r\n" + wish))
        assert await reader.read() == b""
        writer.close()

    run(ConnectionLimits(), test)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
