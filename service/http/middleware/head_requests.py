"""Answer HEAD wherever GET is answered, as monitors and caches ask: FastAPI's routes take GET alone."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class HeadMiddleware:
    """ASGI middleware: answer HEAD as GET, without the body (RFC 9110, section 9.3.2)."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        # A copy: the server must go on to see a HEAD, or it would wait for the bytes of the body and close where they
        # are missing. Parts are for GET alone (RFC 9110, section 14.2).
        headers = [(name, value) for name, value in scope["headers"] if name != b"range"]
        asked = {**scope, "method": "GET", "headers": headers}
        try:
            await self.app(asked, receive, send_head)
        finally:
            # Routing notes there for the log where the request came to.
            scope.update({**asked, "method": "HEAD", "headers": scope["headers"]})
