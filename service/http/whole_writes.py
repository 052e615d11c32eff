"""Write the head of an answer together with its body.

uvicorn writes each as it comes, and every write is a call of the system that wakes the client: half of what sending a
short answer takes.
"""

from __future__ import annotations

import asyncio
from typing import Final

_HEAD: Final = b"HTTP/1.1 "
_INTERIM: Final = b"HTTP/1.1 1"  # such as 100 Continue; the client waits for it


class WholeWrites(asyncio.Transport):
    """Hold a head back until its body comes, and no longer than until the event loop's next round.

    The transport of one request on a connection: it writes and closes, and nothing else.
    """

    __slots__ = ("_flush_soon", "_held", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        """Prepare to write to a transport."""
        super().__init__()
        self._transport, self._loop = transport, loop
        self._held = b""
        self._flush_soon: asyncio.Handle | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write what is held and this; hold a head."""
        data = bytes(data)  # what is bytes already is not copied
        if self._held:
            data = self._held + data
            self._let_go()
        elif data.startswith(_HEAD) and not data.startswith(_INTERIM):
            self._held = data
            self._flush_soon = self._loop.call_soon(self._flush)
            return
        self._transport.write(data)

    def close(self) -> None:
        """Close the connection when everything has been sent."""
        self._flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """Tell whether the connection is closed or will be."""
        return self._transport.is_closing()

    def _flush(self) -> None:
        data = self._held
        self._let_go()
        if data and not self._transport.is_closing():
            self._transport.write(data)

    def _let_go(self) -> None:
        self._held = b""
        if self._flush_soon is not None:
            self._flush_soon.cancel()
            self._flush_soon = None
