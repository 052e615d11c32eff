"""Give every request an id, count it, and write its line into the log; the outermost layer."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import Any

from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.observability.metrics import Metrics
from service.observability.request_context import CURRENT, RequestRecord, begin
from service.observability.tracing import Tracing

logger = logging.getLogger("service.access")

UNMATCHED = "unmatched"  # the route of a request that came to none
CLIENT_LEFT = 499

_QUIET = frozenset({"/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready", "/metrics"})


class AccessLogMiddleware:
    """Log and count requests (ASGI middleware); answers carry the request's id as `X-Request-ID`."""

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        routes: Iterable[BaseRoute],
        access_log: bool,
        tracing: Tracing | None = None,
    ) -> None:
        """Wrap an application.

        Args:
            app: The application.
            metrics: Told of every request.
            routes: Those that are not FastAPI's own: only its own say in the scope which they are.
            access_log: Whether lines are written.
            tracing: Told of the beginning of every request; None where there is none.
        """
        self.app = app
        self._paths = {_endpoint(route): route.path for route in routes if isinstance(route, Route | Mount)}
        self._metrics, self._access_log, self._tracing = metrics, access_log, tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, and record it when the answer has been sent."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        record = begin(scope)
        if self._tracing:
            self._tracing.mark(record)
        status = CLIENT_LEFT

        async def send_recorded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", record.id.encode())]
            await send(message)

        start = time.perf_counter()
        self._metrics.in_progress += 1
        token = CURRENT.set(record)
        try:
            await self.app(scope, receive, send_recorded)
        finally:
            self._metrics.in_progress -= 1
            self._finish(scope, record, status, time.perf_counter() - start)
            CURRENT.reset(token)

    def _finish(self, scope: Scope, record: RequestRecord, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", None) or self._paths.get(scope.get("endpoint")) or UNMATCHED
        self._metrics.request(route, scope["method"], status, seconds, record)
        if self._access_log and not (status < 400 and route in _QUIET):
            logger.info(
                "%s %s %d", scope["method"], route, status, extra=_fields(scope, record, route, status, seconds)
            )


def _endpoint(route: Route | Mount) -> Any:
    return route.endpoint if isinstance(route, Route) else route.app


def _fields(scope: Scope, record: RequestRecord, route: str, status: int, seconds: float) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "method": scope["method"],
        "route": route,
        "status": status,
        "ms": round(seconds * 1e3, 3),
    }
    if route == UNMATCHED:
        fields["path"] = scope["path"][:200]
    if record.key:
        fields["key"] = record.key
    if record.model:
        fields["model"], fields["version"], fields["images"] = record.model, record.version, record.images
        for stage in ("queue", "decode", "infer"):
            fields[f"{stage}_ms"] = round(getattr(record, stage) * 1e3, 3)
    return fields
