"""What is told of a request: its id, metrics, log lines and spans, from one running application."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families

from service.app import create_app
from service.batching.batcher import Batcher
from service.observability.logs import JsonFormatter, TextFormatter
from service.observability.request_context import CURRENT, RequestRecord
from service.observability.tracing import ENDPOINTS, Tracing, tracing_from_environment
from service.settings import Settings
from tests.support.service_client import wait_until_ready
from tests.support.service_images import encode, scene

PICTURE = encode(scene())
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@dataclass
class Watched:
    client: TestClient
    app: FastAPI
    spans: InMemorySpanExporter

    def metrics(self) -> Samples:
        response = self.client.get("/metrics")
        assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(response.text)
            for sample in family.samples
        }


@pytest.fixture(scope="module")
def watched(settings: Settings) -> Iterator[Watched]:
    spans, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    app = create_app(settings, tracing=Tracing(provider))

    @app.get("/fail")
    async def fail() -> None:
        logging.getLogger("service.test").warning("about to fail")
        raise RuntimeError("on purpose")

    with TestClient(app, raise_server_exceptions=False) as client:
        wait_until_ready(client)
        yield Watched(client, app, spans)


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


def classify(watched: Watched, **headers: str) -> None:
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    assert watched.client.post("/v1/classify", content=PICTURE, headers=headers).status_code == 200


def rise(before: Samples, after: Samples, name: str, **labels: str) -> float:
    key = (name, frozenset(labels.items()))
    return after.get(key, 0.0) - before.get(key, 0.0)


# ---- request ids ----


@pytest.mark.parametrize("path", ["/v1/models", "/v1/nothing", "/v2/nothing", "/", "/fail", "/metrics"])
def test_every_answer_has_an_id(watched: Watched, path: str) -> None:
    sent = watched.client.get(path, headers={"x-request-id": "my-id/1.2=3"})
    assert sent.headers.get_list("x-request-id") == ["my-id/1.2=3"]
    if sent.headers["content-type"] == "application/problem+json":
        assert sent.json()["request_id"] == "my-id/1.2=3"
    ids = {watched.client.get(path).headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3


@pytest.mark.parametrize("given", ["", " ", "a b", "x" * 129, "a\tb", '"', "\xe4", "{}", "a\\"])
def test_an_id_that_could_confuse_a_log_is_replaced(watched: Watched, given: str) -> None:
    response = watched.client.get("/v1/nothing", headers={"x-request-id": given.encode("latin-1")})
    assert re.fullmatch("[0-9a-f]{24}", response.headers["x-request-id"])


# ---- metrics ----


def test_what_is_counted(watched: Watched) -> None:
    before = watched.metrics()
    classify(watched)
    watched.client.post("/v1/classify", files=[("file", PICTURE)] * 3)
    watched.client.post("/v1/models/colours/classify", content=b"text")
    watched.client.post("/v1/classify", content=PICTURE, headers={"x-request-timeout": "1e-9"})
    watched.client.get("/ui/style.css")
    after = watched.metrics()
    counted = {"route": "/v1/classify", "method": "POST"}
    assert rise(before, after, "ait_http_requests_total", **counted, status="200") == 2
    assert rise(before, after, "ait_http_requests_total", **counted, status="504") == 1
    by_name = {"route": "/v1/models/{model}/classify", "method": "POST", "status": "415"}
    assert rise(before, after, "ait_http_requests_total", **by_name) == 1
    assert rise(before, after, "ait_http_requests_total", route="/ui", method="GET", status="200") == 1
    assert rise(before, after, "ait_http_requests_total", route="/metrics", method="GET", status="200") == 1
    assert rise(before, after, "ait_http_request_seconds_count", **counted) == 3
    sums = {}
    for stage in ("queue", "decode", "infer", "total"):
        labels = {"model": "colours", "stage": stage}
        assert rise(before, after, "ait_inference_seconds_count", **labels) == 2
        sums[stage] = rise(before, after, "ait_inference_seconds_sum", **labels)
    assert 0 < sums["infer"] < sums["total"]
    assert sums["queue"] + sums["decode"] + sums["infer"] <= sums["total"]
    batches = {"model": "colours", "operation": "logits"}
    assert rise(before, after, "ait_batch_size_sum", **batches) == 4
    assert 2 <= rise(before, after, "ait_batch_seconds_count", **batches) <= 4
    assert rise(before, after, "ait_rejected_total", model="colours", reason="deadline") == 1


def test_how_it_is_now(watched: Watched) -> None:
    now = watched.metrics()
    assert now["ait_worker_up", frozenset({("worker", "0")})] == 1
    assert now["ait_requests_in_progress", frozenset({("worker", "0")})] == 1  # the one that asks
    assert now["ait_queue_depth", frozenset({("worker", "0"), ("model", "colours")})] == 0
    versions = {"worker": "0", "model": "colours", "version": "1"}
    assert now["ait_model_ready", frozenset(versions.items())] == 1
    memory = {dict(labels)["process"]: value for (name, labels), value in now.items() if "resident" in name}
    assert memory.keys() == {"front", "launcher", "model"}
    assert min(memory.values()) > 20e6
    assert not any(name.endswith("_created") for name, _ in now)


def test_clients_cannot_add_series(watched: Watched) -> None:
    def noise(seed: int) -> None:
        for path in (f"/{seed}", f"/v1/models/{seed}", f"/v2/models/{seed}/infer", f"/ui/{seed}"):
            for method in ("GET", "POST", f"X{seed}"):
                watched.client.request(method, path, content=b"{}")
        watched.client.get(f"/v1/models?{seed}={seed}", headers={"x-request-id": str(seed)})

    noise(0)
    watched.metrics()
    before = watched.metrics().keys()
    for seed in range(1, 6):
        noise(seed)
    assert watched.metrics().keys() == before


def test_a_model_that_dies_is_counted(watched: Watched) -> None:
    before = watched.metrics()
    (model,) = watched.app.state.engine.models.loaded()
    assert model.pid
    os.kill(model.pid, 9)
    for _ in range(200):
        if rise(before, after := watched.metrics(), "ait_model_loads_total", model="colours", result="ok"):
            break
        time.sleep(0.05)
    assert rise(before, after, "ait_model_loads_total", model="colours", result="ok") == 1
    assert rise(before, after, "ait_model_process_deaths_total", model="colours") == 1
    wait_until_ready(watched.client)
    classify(watched)


# ---- logs ----


def test_a_line_a_request(watched: Watched, lines: io.StringIO) -> None:
    classify(watched, x_request_id="mine", x_api_key="secret")
    watched.client.get("/v1/nothing%0A", headers={"authorization": "Bearer secret"})
    watched.client.get("/health/ready")
    first, second = map(json.loads, lines.getvalue().splitlines())
    assert first["message"] == "POST /v1/classify 200"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first["time"])
    assert (first["level"], first["logger"], first["request_id"]) == ("info", "service.access", "mine")
    assert (first["method"], first["route"], first["status"]) == ("POST", "/v1/classify", 200)
    assert (first["model"], first["version"], first["images"]) == ("colours", "1", 1)
    assert 0 < first["infer_ms"] < first["ms"]
    assert (second["route"], second["status"], second["path"]) == ("unmatched", 404, "/v1/nothing\n")
    assert "secret" not in lines.getvalue()


def test_all_lines_of_a_request_have_its_id(watched: Watched, lines: io.StringIO) -> None:
    watched.client.get("/fail", headers={"x-request-id": "bad-day"})
    logging.getLogger("service.test").warning("elsewhere")
    *within, outside = map(json.loads, lines.getvalue().splitlines())
    assert [each["message"] for each in within] == ["about to fail", "GET /fail failed", "GET /fail 500"]
    assert {each["request_id"] for each in within} == {"bad-day"}
    assert "on purpose" in within[1]["exception"]
    assert "request_id" not in outside


def test_a_batch_is_no_single_requests() -> None:
    seen = []

    async def run(items: list[int]) -> list[int]:
        seen.append(CURRENT.get())
        return items

    async def main() -> None:
        batcher = Batcher(run, max_batch=2, max_queue=8, max_delay=0.01)

        async def ask(number: int) -> None:
            CURRENT.set(RequestRecord(str(number)))
            await batcher.submit([number])

        await asyncio.gather(*(ask(number) for number in range(5)))
        await batcher.close()

    asyncio.run(main())
    assert seen
    assert set(seen) == {None}


def test_a_line_for_people_is_one_line() -> None:
    record = logging.makeLogRecord(
        {"name": "a", "levelname": "INFO", "msg": "one\ntwo\x1b[31m é", "path": "/\r\n/", "_own": 1}
    )
    line = TextFormatter().format(record)
    assert "INFO a: one\\ntwo\\x1b[31m é path=/\\r\\n/" in line
    assert line.isprintable()


# ---- traces ----


def spans_of(watched: Watched, trace_id: str) -> list[ReadableSpan]:
    return [each for each in watched.spans.get_finished_spans() if f"{each.context.trace_id:032x}" == trace_id]


def test_the_spans_of_a_request(watched: Watched, lines: io.StringIO) -> None:
    trace_id = "0123456789abcdef0123456789abcdef"
    classify(watched, traceparent=f"00-{trace_id}-00f067aa0ba902b7-01", x_request_id="traced")
    spans = spans_of(watched, trace_id)
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
