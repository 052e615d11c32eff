"""Let nobody in without a key, where keys are asked for: whatever is not named public here is closed."""

from __future__ import annotations

import math

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.auth.keys import KeyRing, presented_key
from service.auth.rate_limit import RateLimits
from service.http.problems import Problem, key_missing, route_path
from service.observability.events import Observer
from service.observability.request_context import record_of

METRICS = "/metrics"

# What a browser needs to show the page and the reference, and what tells an orchestrator how the server is.
PUBLIC = frozenset(
    {"/", "/teach", "/docs", "/openapi.json", "/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready"}
)
PUBLIC_BELOW = ("/ui/",)


class AuthenticationMiddleware:
    """Refuse requests without a known key, before their body is read (ASGI middleware)."""

    def __init__(
        self, app: ASGIApp, keys: KeyRing, rates: RateLimits, observer: Observer, metrics_public: bool = False
    ) -> None:
        """Wrap an application.

        Args:
            app: The application.
            keys: The keys that are known.
            rates: How often each may ask.
            observer: Told of every refusal.
            metrics_public: Whether the metrics need no key.
        """
        self.app = app
        self._keys, self._rates, self._observer = keys, rates, observer
        self._public = PUBLIC | {METRICS} if metrics_public else PUBLIC

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request whose key is known, and refuse others."""
        if self._keys.required and scope["type"] == "http" and not self._is_public(route_path(scope)):
            try:
                self._admit(scope)
            except Problem as problem:
                self._observer.rejected("", "", problem.kind)
                await problem.response(scope)(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _is_public(self, path: str) -> bool:
        return path in self._public or path.startswith(PUBLIC_BELOW)

    def _admit(self, scope: Scope) -> None:
        secret = presented_key(Headers(scope=scope))
        if secret is None:
            raise key_missing("This server asks for an API key.")
        key = self._keys.find(secret)
        if key is None:
            raise Problem(403, "key-wrong", "The server does not know this key. Send one that it was given.")
        if record := record_of(scope):
            record.key = key.name
        if key.rate and (wait := self._rates.take(key.name, key.rate, key.burst)):
            seconds = max(1, math.ceil(wait))
            detail = f"This key may ask {key.rate:g} times a second, {key.burst} at once. Try again in {seconds} s."
            raise Problem(429, "rate-exceeded", detail, headers={"Retry-After": str(seconds)})
