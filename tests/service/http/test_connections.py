"""Connections within limits, over real sockets."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from service.http.connections import ConnectionLimits, bounded_protocol
from service.http.disconnect import DEPARTURE
from tests.support.certificates import write_certificate
from tests.support.waiting import CEILING

Address = tuple[str, int]


class Application:
    """Answers with the length of the body; some paths wait."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.release = asyncio.Event()
        self.left = asyncio.Event()
        self.told = asyncio.Event()  # the server has told of it without being asked
        self.fields: list[bytes] = []  # names, when the body had been read

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        size, more = 0, scope["path"] != "/unread"
        while more:
            message = await receive()
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
        self.fields = [name for name, _ in scope["headers"]]
        self.started.set()
        if scope["path"] == "/wait":
            scope["state"][DEPARTURE].call(self.told.set)
            leaving = asyncio.ensure_future(receive())
            released = asyncio.ensure_future(self.release.wait())
            await asyncio.wait([leaving, released], return_when=asyncio.FIRST_COMPLETED)
            if leaving.done():
                self.left.set()
            leaving.cancel()
            released.cancel()
        body = b"x" * 50_000_000 if scope["path"] == "/large" else str(size).encode()
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        if scope["path"] == "/large":
            self.release.set()


@asynccontextmanager
async def serving(
    limits: ConnectionLimits, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[Application, uvicorn.Server, Address]]:
    application = Application()
    protocol = bounded_protocol(limits, tls)
    config = uvicorn.Config(application, http=protocol, lifespan="off", log_config=None, ws="none")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        task = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:
            await asyncio.sleep(0.01)
        try:
            yield application, server, listener.getsockname()
        finally:
            application.release.set()
            server.should_exit = True
            async with asyncio.timeout(CEILING):
                await task


def run(
    limits: ConnectionLimits, test: Callable[[Application, uvicorn.Server, Address], Coroutine[Any, Any, None]]
) -> None:
    async def whole() -> None:
        async with asyncio.timeout(CEILING), serving(limits) as (application, server, address):
            await test(application, server, address)

    asyncio.run(whole())


async def everything(reader: asyncio.StreamReader) -> bytes:
    """What comes until the server closes; a reset ends it too."""
    received = bytearray()
    try:
        while chunk := await reader.read(65536):
            received += chunk
    except ConnectionError:
        pass
    return bytes(received)


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


def test_large_bodies_and_later_requests_are_no_heads() -> None:
    async def test(_: Application, __: uvicorn.Server, address: Address) -> None:
        reader, writer = await asyncio.open_connection(*address)
        for size in (200_000, 0, 300_000):
            writer.write(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % size + b"b" * size)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            text = str(size).encode()
            assert await reader.readexactly(len(text)) == text
        writer.close()

    run(ConnectionLimits(head_bytes=1000), test)


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


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HT",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\nabc",
    ],
    ids=["the head", "the body", "a chunk"],
)
def test_a_request_that_ends_in_the_middle_is_refused(sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def test(_: Application, __: uvicorn.Server, address: Address) -> None:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(sent)
        writer.write_eof()
        answer = await everything(reader)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.count(b"HTTP/1.1 ") == 1
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["type"] == "urn:ait:incomplete-request"
        writer.close()

    run(ConnectionLimits(), test)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


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


@pytest.mark.parametrize("field", ["accept: */*", "expect: 100-continue"])
@pytest.mark.parametrize("half_closed", [False, True])
def test_a_body_that_cannot_be_read_is_refused(
    half_closed: bool, field: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(application: Application, _: uvicorn.Server, address: Address) -> None:
        reader, writer = await asyncio.open_connection(*address)
        head = f"POST / HTTP/1.1\r\nhost: a\r\n{field}\r\ntransfer-encoding: chunked\r\n\r\n"
        writer.write(head.encode() + b"no length\r\n")
        if half_closed:
            writer.write_eof()
        answer = await everything(reader)
        assert answer.startswith(b"HTTP/1.1 400 ")
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


CHUNKED = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"


def test_trailer_fields_do_not_pass_for_fields_of_the_head() -> None:
    async def test(application: Application, _: uvicorn.Server, address: Address) -> None:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(CHUNKED + b"3\r\nabc\r\n0\r\nauthorization: Bearer x\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n3")).startswith(b"HTTP/1.1 200 ")
        assert application.fields == [b"host", b"transfer-encoding"]
        writer.write(b"POST / HTTP/1.1\r\nhost: a\r\nx-next: 1\r\ncontent-length: 2\r\n\r\nab")
        assert (await reader.readuntil(b"\r\n\r\n2")).startswith(b"HTTP/1.1 200 ")
        assert b"x-next" in application.fields
        writer.close()

    run(ConnectionLimits(), test)


@pytest.mark.parametrize(
    "behind",
    [
        b"0\r\nx: " + b"a" * 2_000_000 + b"\r\n\r\n",
        b"0\r\n" + b"a" * 2_000_000 + b": x\r\n\r\n",
        b"0\r\n" + b"x: a\r\n" * 200 + b"\r\n",
        b"3;" + b"x=y;" * 500_000 + b"\r\nabc\r\n0\r\n\r\n",
    ],
    ids=["a large value", "a large name", "many fields", "extensions of a chunk"],
)
def test_what_comes_beside_a_body_has_limits(behind: bytes) -> None:
    async def test(application: Application, _: uvicorn.Server, address: Address) -> None:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(CHUNKED + b"3\r\nabc\r\n" + behind)
        answer = await everything(reader)
        assert answer.startswith(b"HTTP/1.1 431 ")
        assert answer.count(b"HTTP/1.1 ") == 1
        writer.close()

    run(ConnectionLimits(), test)


def test_what_cannot_be_read_of_a_request_that_was_answered_brings_no_second_answer() -> None:
    async def test(application: Application, _: uvicorn.Server, address: Address) -> None:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(CHUNKED.replace(b"POST /", b"POST /unread") + b"3\r\nabc\r\n")
        await reader.readuntil(b"\r\n\r\n0")
        writer.write(b"no length\r\n")
        assert await everything(reader) == b""
        writer.close()

    run(ConnectionLimits(), test)


def test_bodies_in_very_small_chunks_are_read() -> None:
    async def test(application: Application, _: uvicorn.Server, address: Address) -> None:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(CHUNKED + b"1;a=b\r\nx\r\n" * 20_000 + b"0\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n20000")
        writer.close()

    run(ConnectionLimits(), test)


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
