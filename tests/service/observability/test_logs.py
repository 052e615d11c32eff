"""Log lines: one per request, as JSON or for people."""

from __future__ import annotations

import io
import json
import logging
import re
from datetime import UTC, datetime
from pathlib import Path

from service.observability.logs import JsonFormatter, TextFormatter
from tests.support.observed_service import ObservedService, classify


def test_a_line_a_request(observed: ObservedService, lines: io.StringIO) -> None:
    classify(observed, x_request_id="mine", x_api_key="secret")
    observed.client.get("/v1/nothing%0A", headers={"authorization": "Bearer secret"})
    observed.client.get("/health/ready")
    first, second = map(json.loads, lines.getvalue().splitlines())
    assert first["message"] == "POST /v1/classify 200"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first["time"])
    assert (first["level"], first["logger"], first["request_id"]) == ("info", "service.access", "mine")
    assert (first["method"], first["route"], first["status"]) == ("POST", "/v1/classify", 200)
    assert (first["model"], first["version"], first["images"]) == ("colours", "1", 1)
    assert 0 < first["infer_ms"] < first["ms"]
    assert (second["route"], second["status"], second["path"]) == ("unmatched", 404, "/v1/nothing\n")
    assert "secret" not in lines.getvalue()


def test_all_lines_of_a_request_have_its_id(observed: ObservedService, lines: io.StringIO) -> None:
    observed.client.get("/fail", headers={"x-request-id": "bad-day"})
    logging.getLogger("service.test").warning("elsewhere")
    *within, outside = map(json.loads, lines.getvalue().splitlines())
    assert [each["message"] for each in within] == ["about to fail", "GET /fail failed", "GET /fail 500"]
    assert {each["request_id"] for each in within} == {"bad-day"}
    assert "on purpose" in within[1]["exception"]
    assert "request_id" not in outside


def test_a_line_for_people_is_one_line() -> None:
    record = logging.makeLogRecord(
        {"name": "a", "levelname": "INFO", "msg": "one\ntwo\x1b[31m é", "path": "/\r\n/", "_own": 1}
    )
    line = TextFormatter().format(record)
    assert "INFO a: one\\ntwo\\x1b[31m é path=/\\r\\n/" in line
    assert line.isprintable()


def test_a_time_is_that_of_its_record_whatever_was_written_before() -> None:
    formatter = JsonFormatter()
    for created in (1.9996, 2.0, 1.5, 1764254400.125):
        record = logging.makeLogRecord({"created": created})
        told = datetime.fromisoformat(json.loads(formatter.format(record))["time"])
        assert 0 <= created - told.astimezone(UTC).timestamp() < 1e-3


def test_a_line_is_ascii_whatever_it_tells() -> None:
    told = {"plain": "a", "place": "Zürich", "broken": "\ud800", "large": 1 << 80, "path": Path("/é")}
    for name, value in told.items():
        line = JsonFormatter().format(logging.makeLogRecord({"msg": "line", name: value}))
        assert line.isascii()
        assert json.loads(line)[name] == (str(value) if isinstance(value, Path) else value)
