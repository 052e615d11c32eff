"""Refuse requests that name another host, so that a web page cannot reach a server on loopback through its own name.

A page whose name is made to resolve to 127.0.0.1 (DNS rebinding) is of the same origin as the server to a browser,
and could read answers and training images. Its requests carry the page's name in `Host`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from service.http.problems import Problem

LONGEST_NAME: Final = 512  # characters of a host with its port; DNS names have at most 253


class TrustedHostMiddleware:
    """ASGI middleware: answer 403 unless `Host` is a loopback address, localhost, or one of the names given."""

    def __init__(self, app: ASGIApp, names: Iterable[str] = ()) -> None:
        """Wrap an application.

        Args:
            app: What answers.
            names: Further names, without port; "*.example.org" stands for every name below example.org, "*" for all.
        """
        self.app = app
        self._names = {name.strip().lower() for name in names if name.strip()}
        # Nearly all requests name the same few hosts.
        self._trusted_before = lru_cache(maxsize=256)(self._trusted)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http" or self._trusted_before(_host(scope)):
            await self.app(scope, receive, send)
            return
        problem = Problem(
            403,
            "unknown-host",
            "This server answers on this machine only, and the request names another host. Ask 127.0.0.1 or "
            "localhost; behind a reverse proxy, set AIT_ALLOWED_HOSTS to the names that it is reached by.",
        )
        await problem.response(scope)(scope, receive, send)

    def _trusted(self, host: bytes) -> bool:
        if len(host) > LONGEST_NAME:
            return False
        name = _without_port(host.decode("latin-1")).lower().rstrip(".")
        if not name:
            return True  # HTTP/1.0, and no browser
        if is_loopback(name) or name in self._names or "*" in self._names:
            return True
        return any(each.startswith("*.") and name.endswith(each[1:]) for each in self._names)


def is_loopback(name: str) -> bool:
    """Return True for localhost and addresses of the loopback interface, such as 127.0.0.1, ::1 and [::1]."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _host(scope: Scope) -> bytes:
    host: bytes = next((value for name, value in scope["headers"] if name == b"host"), b"")
    return host[: LONGEST_NAME + 1]


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0] if host.count(":") <= 1 else host
