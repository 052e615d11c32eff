"""Bound the memory and the time that request bodies take, and end connections in order.

A connection that is closed while something on it has not been read is reset, and its last answer may be lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import DeadlineExceeded, QueueFull


class BodyLimitMiddleware:
    """Refuse bodies that take too much memory or time (ASGI middleware).

    A body that does not fit beside those of other requests is refused with a 429, and one that takes too long to
    arrive with a 504. While the server stops, every answer closes its connection, after the request has been read
    to its end.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, seconds: float, stopping: Callable[[], bool]) -> None:
        """Wrap an application.

        Args:
            app: The application.
            max_bytes: Most bytes of bodies, of all requests together.
            seconds: Time that each body may take to arrive.
            stopping: True while the server stops.
        """
        self.app = app
        self._max_bytes, self._seconds, self._stopping = max_bytes, seconds, stopping
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request whose body is counted while it is read."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        held = 0
        complete = False
        deadline = asyncio.get_running_loop().time() + self._seconds

        async def counted() -> Message:
            nonlocal held, complete
            if complete:
                return await receive()  # tells when the client leaves
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise DeadlineExceeded from None
            complete = not message.get("more_body", False)
            size = len(message.get("body", b""))
            # A request that is alone is never refused: how long a body may be is for others to say.
            if held + size < self._held + size > self._max_bytes:
                raise QueueFull(1)
            held += size
            self._held += size
            return message

        async def closing(message: Message) -> None:
            nonlocal complete
            if message["type"] == "http.response.start" and self._stopping():
                while not complete:
                    complete = not (await receive()).get("more_body", False)
                message["headers"] = [*message["headers"], (b"connection", b"close")]
            await send(message)

        try:
            await self.app(scope, counted, closing)
        finally:
            self._held -= held
