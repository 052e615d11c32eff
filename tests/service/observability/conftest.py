"""One running application that is observed in every way."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from service.app import create_app
from service.observability.logs import JsonFormatter
from service.observability.tracing import Tracing
from service.settings import Settings
from tests.support.servers.observed_service import ObservedService
from tests.support.servers.service_client import wait_until_ready


@pytest.fixture(scope="package")
def observed(settings: Settings) -> Iterator[ObservedService]:
    spans, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    app = create_app(settings, tracing=Tracing(provider))

    @app.get("/fail")
    async def fail() -> None:
        logging.getLogger("service.test").warning("about to fail")
        raise RuntimeError("on purpose")

    with TestClient(app, raise_server_exceptions=False) as client:
        wait_until_ready(client)
        yield ObservedService(client, app, spans)


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """The log as JSON."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("service")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield stream
    logger.removeHandler(handler)
    logger.setLevel(before)
