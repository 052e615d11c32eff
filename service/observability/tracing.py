"""OpenTelemetry spans: the request, and in it queueing, decoding and inference.

Nothing of OpenTelemetry's SDK is imported unless the environment names where spans are to go.
"""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, Any

from service.observability.events import Observer
from service.observability.request_context import RequestRecord

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

logger = logging.getLogger(__name__)

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


class Tracing(Observer):
    """Makes spans for the stages of a request, below the request's own span, which FastAPI makes."""

    def __init__(self, provider: TracerProvider) -> None:
        """Make spans with `provider`, which FastAPI must use too."""
        from opentelemetry import trace

        self.provider = provider
        self._tracer = provider.get_tracer("ait")
        self._current_span = trace.get_current_span

    @property
    def fastapi_options(self) -> dict[str, Any]:
        """The argument `telemetry` of FastAPI: spans from the same provider."""
        return {**NO_TELEMETRY, "tracing": True, "tracer_provider": self.provider}

    def mark(self, record: RequestRecord) -> None:
        """Write the trace's id into the record of the present request, and the request's id into its span."""
        span = self._current_span()
        context = span.get_span_context()
        if context.is_valid:
            record.trace_id = f"{context.trace_id:032x}"
            span.set_attribute("ait.request_id", record.id)

    def decoded(self, images: int, queue: float, seconds: float) -> None:
        end = time.time_ns()
        start = end - round(seconds * 1e9)
        self._span("queue", start - round(queue * 1e9), start, {"ait.queue": "decode"})
        self._span("decode", start, end, {"ait.images": images})

    def inferred(self, model: str, version: str, operation: str, inputs: int, queue: float, infer: float) -> None:
        end = time.time_ns()
        start = end - round(infer * 1e9)
        attributes = {"ait.model": model, "ait.version": version}
        self._span("queue", start - round(queue * 1e9), start, {"ait.queue": "model", **attributes})
        self._span("infer", start, end, {"ait.operation": operation, "ait.images": inputs, **attributes})

    def close(self) -> None:
        """Send what has not been sent; this takes seconds where nobody answers."""
        self.provider.shutdown()

    def _span(self, name: str, start: int, end: int, attributes: dict[str, str | int]) -> None:
        if self._current_span().is_recording():
            self._tracer.start_span(name, start_time=start, attributes=attributes).end(end)


NO_TELEMETRY: dict[str, Any] = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}


def tracing_from_environment(service_version: str) -> Tracing | None:
    """Trace to OTEL_EXPORTER_OTLP_ENDPOINT; return None where it is not set or the extra is not installed."""
    endpoint = next((os.environ[name] for name in ENDPOINTS if os.environ.get(name)), None)
    if endpoint is None or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        logger.warning(
            "Traces are asked for and cannot be sent: pip install 'associative-transformer[telemetry]', or unset %s.",
            " and ".join(ENDPOINTS),
        )
        return None
    named = os.environ.get("OTEL_SERVICE_NAME") or "ait"
    resource = Resource.create({SERVICE_NAME: named, SERVICE_VERSION: service_version})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))  # which reads the endpoint by itself
    return Tracing(provider)
