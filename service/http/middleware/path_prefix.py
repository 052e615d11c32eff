"""Answer below a path prefix, whether or not the reverse proxy in front takes the prefix away."""

from __future__ import annotations

import re
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

HEADER: Final = b"x-forwarded-prefix"

LONGEST_PREFIX: Final = 512  # characters

_PREFIX: Final = re.compile(r"(/(?!\.\.?(/|$))[\w.~-]+)+", re.ASCII)  # no segment may lead elsewhere


class PathPrefixMiddleware:
    """ASGI middleware: note in the scope where the application is mounted, as routes expect it."""

    def __init__(self, app: ASGIApp, prefix: str = "") -> None:
        """Wrap an application.

        Args:
            app: What answers.
            prefix: Where it is mounted, such as "/models"; a request may say otherwise in X-Forwarded-Prefix.
        """
        self.app = app
        self._prefix = prefix.rstrip("/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with its prefix."""
        if scope["type"] == "http" and (prefix := self._prefix_of(scope)):
            path: str = scope["path"]
            below = path == prefix or path.startswith(f"{prefix}/")
            scope = {**scope, "root_path": prefix, "path": path if below else prefix + path}
        await self.app(scope, receive, send)

    def _prefix_of(self, scope: Scope) -> str:
        raw: bytes = next((value for name, value in scope["headers"] if name == HEADER), b"")
        if not raw:
            return self._prefix
        told = raw.decode("latin-1").rstrip("/")
        return told if len(raw) <= LONGEST_PREFIX and _PREFIX.fullmatch(told) else self._prefix
