"""OpenTelemetry spans of a request, and when tracing is on."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import pytest
from opentelemetry.sdk.trace import ReadableSpan

from service.observability.tracing import ENDPOINTS, tracing_from_environment
from tests.support.servers.observed_service import ObservedService, classify


def spans_of(observed: ObservedService, trace_id: str) -> list[ReadableSpan]:
    return [each for each in observed.spans.get_finished_spans() if f"{each.context.trace_id:032x}" == trace_id]


def test_the_spans_of_a_request(observed: ObservedService, lines: io.StringIO) -> None:
    trace_id = "0123456789abcdef0123456789abcdef"
    classify(observed, traceparent=f"00-{trace_id}-00f067aa0ba902b7-01", x_request_id="traced")
    spans = spans_of(observed, trace_id)
    (request,) = (each for each in spans if each.kind.name == "SERVER")
    assert request.name == "POST /v1/classify"
    assert request.attributes["ait.request_id"] == "traced"
    assert f"{request.parent.span_id:x}" == "f067aa0ba902b7"
    stages = [each for each in spans if each is not request]
    names = [each.name for each in sorted(stages, key=lambda each: (each.end_time, each.start_time))]
    assert sorted(names) == ["decode", "infer", "queue", "queue"]
    for each in stages:
        assert each.parent.span_id == request.context.span_id
        assert request.start_time - 5e6 <= each.start_time <= each.end_time <= request.end_time + 5e6
    infer = next(each for each in stages if each.name == "infer")
    assert dict(infer.attributes) == {
        "ait.operation": "logits",
        "ait.images": 1,
        "ait.model": "colours",
        "ait.version": "1",
    }
    assert json.loads(lines.getvalue())["trace_id"] == trace_id


def test_nothing_of_tracing_is_imported_unless_it_is_asked_for() -> None:
    program = (
        "import sys; from service.app import create_app; from service.settings import Settings; "
        "create_app(Settings(_env_file=None)); print([name for name in sys.modules if name.startswith("
        "('opentelemetry.sdk', 'opentelemetry.exporter'))])"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_tracing_follows_the_environment(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    for name in (*ENDPOINTS, "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    assert tracing_from_environment("1") is None
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    tracing = tracing_from_environment("1")
    assert tracing
    assert tracing.provider.resource.attributes["service.name"] == "ait"
    tracing.close()
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert tracing_from_environment("1") is None
    monkeypatch.delenv("OTEL_SDK_DISABLED")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    assert tracing_from_environment("1") is None
    assert "associative-transformer[telemetry]" in caplog.text
