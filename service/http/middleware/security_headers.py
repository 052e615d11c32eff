"""Add the headers that browsers heed, and answer unexpected errors.

Only the access log lies outside of it, so that the log has the status of these answers too.
"""

from __future__ import annotations

import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http.problems import Problem

logger = logging.getLogger(__name__)

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

_RAW_HEADERS = [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]


class SecurityHeadersMiddleware:
    """Add security headers to every answer (ASGI middleware).

    An exception that nothing else handled is logged and answered with a plain 500.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request, and add the headers to its answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def send_guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = message["headers"]
                if all(name.lower() != b"cache-control" for name, _ in headers):
                    headers = [*headers, (b"cache-control", b"no-store")]
                message["headers"] = [*headers, *_RAW_HEADERS]
            await send(message)

        try:
            await self.app(scope, receive, send_guarded)
        except Exception:
            if started:
                raise  # half an answer is out: only closing the connection tells the client
            logger.exception("%s %s failed", scope["method"], scope["path"])
            problem = Problem(500, "internal-error", "The server failed; the cause is in its log.")
            await problem.response(scope)(scope, receive, send_guarded)
