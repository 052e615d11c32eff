"""HTTP connections of the load generator, with as little Python per answer as possible."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import httptools


class Connection(asyncio.Protocol):
    """A connection that stays open and carries one request at a time.

    Attributes:
        came: time at which the present request was due, kept here for the user of the connection.
        body: of the answer, until the next request is sent.
    """

    def __init__(self, answered: Callable[[Connection, int], None], closed: Callable[[Connection], None]) -> None:
        """Prepare a connection for an event loop.

        Args:
            answered: called with each answer's status.
            closed: called when the connection is lost.
        """
        self._answered, self._closed = answered, closed
        self._parser = httptools.HttpResponseParser(self)
        self._open = True
        self.came = 0.0
        self.body = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.WriteTransport, transport)

    def send(self, request: bytes) -> None:
        """Send a request; the one before must have been answered."""
        self.body.clear()
        self._transport.write(request)

    def close(self) -> None:
        """Close the connection without calling `closed`."""
        self._open = False
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Parse what has come."""
        self._parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        """Keep a part of the answer's body."""
        self.body += data

    def on_message_complete(self) -> None:
        """Tell of the whole answer."""
        self._answered(self, self._parser.get_status_code())

    def connection_lost(self, error: Exception | None) -> None:
        """Tell that the server has closed the connection."""
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
    """Open connections.

    Args:
        host: of the server.
        port: of the server.
        count: how many to open.
        answered: called with each answer's connection and status.
        closed: called with each connection that is lost.

    Raises:
        OSError: the server does not take them.
    """
    loop = asyncio.get_running_loop()
    opened = []
    for _ in range(count):
        _, connection = await loop.create_connection(lambda: Connection(answered, closed), host, port)
        opened.append(connection)
    return opened
