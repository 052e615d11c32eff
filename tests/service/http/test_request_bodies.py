"""Bodies of requests, over real sockets: large ones, broken ones, chunks, and what comes beside them."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest
import uvicorn

from service.http.connections import ConnectionLimits
from tests.support.servers.bounded_server import Address, Application, everything, run

CHUNKED = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"


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


def test_the_rest_of_a_body_that_was_answered_early_has_a_time() -> None:
    async def test(_: Application, __: uvicorn.Server, address: Address) -> None:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(CHUNKED.replace(b"POST /", b"POST /unread"))
        await reader.readuntil(b"\r\n\r\n0")
        ended = asyncio.create_task(everything(reader))
        while not ended.done():
            writer.write(b"3\r\nabc\r\n")
            await asyncio.sleep(0.01)
        assert await ended == b""
        writer.close()

    run(ConnectionLimits(head_seconds=0.2), test)


def test_a_connection_stays_open_once_the_rest_of_an_early_answered_body_has_come() -> None:
    async def test(_: Application, __: uvicorn.Server, address: Address) -> None:
        reader, writer = await asyncio.open_connection(*address)
        for _ in range(2):
            writer.write(CHUNKED.replace(b"POST /", b"POST /unread"))
            await reader.readuntil(b"\r\n\r\n0")
            writer.write(b"3\r\nabc\r\n0\r\n\r\n")
        writer.write(CHUNKED + b"3\r\nabc\r\n0\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n3")
        writer.close()

    run(ConnectionLimits(), test)


def test_bodies_in_very_small_chunks_are_read() -> None:
    async def test(application: Application, _: uvicorn.Server, address: Address) -> None:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(CHUNKED + b"1;a=b\r\nx\r\n" * 20_000 + b"0\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n20000")
        writer.close()

    run(ConnectionLimits(), test)
