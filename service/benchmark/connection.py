"""A connection to a server: one request at a time, and as little Python to an answer as can be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import httptools


class Connection(asyncio.Protocol):
    """A connection that stays open, with one request at a time on it.

    Attributes:
        came: for its user to note when the request that is on it came.
        body: of the answer, until the next request is sent.
    """

    def __init__(self, answered: Callable[[Connection, int], None], closed: Callable[[Connection], None]) -> None:
        self._answered, self._closed = answered, closed
        self._parser = httptools.HttpResponseParser(self)
        self._open = True
        self.came = 0.0
        self.body = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def send(self, request: bytes) -> None:
        self.body.clear()
        self._transport.write(request)

    def close(self) -> None:
        self._open = False
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self._answered(self, self._parser.get_status_code())

    def connection_lost(self, error: Exception | None) -> None:
        if self._open:
            self._open = False
            self._closed(self)


async def connect(
    host: str,
    port: int,
    count: int,
    answered: Callable[[Connection, int], None],
    closed: Callable[[Connection], None],
) -> list[Connection]:
    """Opens so many connections.

    Args:
        answered: told of each answer, and its status.
        closed: told when a connection was lost.

    Raises:
        OSError: the server does not take them.
    """
    loop = asyncio.get_running_loop()
    opened = []
    for _ in range(count):
        _, connection = await loop.create_connection(lambda: Connection(answered, closed), host, port)
        opened.append(connection)
    return opened
