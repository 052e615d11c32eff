"""A server in the process of the tests whose connections have limits, and what its clients read."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from service.http.connections import ConnectionLimits, bounded_protocol
from service.http.disconnect import DEPARTURE
from tests.support.processes.waiting import CEILING

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
        if scope["path"] == "/busy":  # as with work that asks for no messages
            scope["state"][DEPARTURE].call(self.told.set)
            waits = [asyncio.ensure_future(event.wait()) for event in (self.told, self.release)]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
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
    limits: ConnectionLimits,
    tls: ssl.SSLContext | None = None,
    wrap: Callable[[ASGIApp], ASGIApp] = lambda application: application,
) -> AsyncIterator[tuple[Application, uvicorn.Server, Address]]:
    """An application behind connections within these limits, its server, and the address; all end on leaving."""
    application = Application()
    protocol = bounded_protocol(limits, tls)
    config = uvicorn.Config(wrap(application), http=protocol, lifespan="off", log_config=None, ws="none")
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
    """Run a test with an application behind connections within these limits."""

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
