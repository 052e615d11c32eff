"""A server in virtual time, for tests of clients: what it takes for an answer is exact."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tests.support.virtual.time import VirtualTimeLoop

Handler = Callable[[bytes, float], tuple[float, bytes]]


class VirtualServerLoop(VirtualTimeLoop):
    """A loop whose connections lead to a server in the same virtual time, whatever their address."""

    def __init__(self, handler: Handler) -> None:
        """Make a loop with a server.

        Args:
            handler: gets the body of a request and the time; returns when it is answered, and the answer's bytes.
        """
        super().__init__()
        self._handler = handler

    async def create_connection(  # type: ignore[override]
        self, factory: Callable[[], asyncio.Protocol], *_: Any, **__: Any
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        """Connect a protocol with the server."""
        protocol = factory()
        transport = _Transport(self, protocol, self._handler)
        protocol.connection_made(transport)
        return transport, protocol


class _Transport(asyncio.Transport):
    """One connection; a request comes in one piece."""

    def __init__(self, loop: VirtualServerLoop, protocol: asyncio.Protocol, handler: Handler) -> None:
        super().__init__()
        self._loop, self._protocol, self._handler, self._open = loop, protocol, handler, True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        body = bytes(data).partition(b"\r\n\r\n")[2]
        when, answer = self._handler(body, self._loop.time())
        self._loop.call_at(when, self._deliver, answer)

    def close(self) -> None:
        self._open = False

    def _deliver(self, answer: bytes) -> None:
        if self._open:
            self._protocol.data_received(answer)
