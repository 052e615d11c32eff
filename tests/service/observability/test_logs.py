"""Log lines: one per request, as JSON or for people."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from select import PIPE_BUF

import pytest

from service.observability.logs import JsonFormatter, TextFormatter, TurnHandler
from tests.support.servers.observed_service import ObservedService, classify


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


def test_a_line_tells_the_stack_that_was_asked_for() -> None:
    stream = Writes()
    logger, handler = logger_to(stream)
    handler.setFormatter(JsonFormatter())
    logger.info("here", stack_info=True)
    assert "test_a_line_tells_the_stack_that_was_asked_for" in json.loads(stream.parts[0])["stack"]


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


class Writes(io.StringIO):
    """A stream that remembers what was written to it at once."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []

    def write(self, text: str) -> int:
        if "unwritable" in text:
            raise OSError("no room")
        self.parts.append(text)
        return len(text)


def logger_to(stream: Writes) -> tuple[logging.Logger, TurnHandler]:
    logger, handler = logging.Logger("test"), TurnHandler(stream)
    logger.addHandler(handler)
    return logger, handler


def test_lines_of_one_turn_of_a_loop_are_written_together() -> None:
    stream = Writes()
    logger, handler = logger_to(stream)

    async def turns() -> None:
        for name in "ab":
            logger.info("%s1", name)
            logger.info("%s2", name)
            await asyncio.sleep(0)
        logger.info("c1")
        logger.warning("c2")
        logger.info("d1")
        await asyncio.to_thread(logger.info, "d2")
        logger.info("e1")

    asyncio.run(turns())
    handler.flush()
    assert stream.parts[:3] == ["a1\na2\n", "b1\nb2\n", "c1\nc2\n"]
    assert "".join(stream.parts[3:]) == "d1\nd2\ne1\n"
    logger.info("without a loop")
    assert stream.parts[-1] == "without a loop\n"


def test_what_a_loop_left_behind_is_written_later() -> None:
    stream = Writes()
    logger, handler = logger_to(stream)

    async def log() -> None:
        logger.info("last words")

    for _ in range(2):
        coroutine = log()
        loop = asyncio.new_event_loop()
        loop.call_soon(loop.stop)
        loop.call_soon(lambda step=coroutine: next(step.__await__(), None))
        loop.run_forever()
        loop.close()
    handler.flush()
    assert "".join(stream.parts) == "last words\n" * 2


def test_no_more_is_written_at_once_than_a_pipe_takes_as_a_whole() -> None:
    stream = Writes()
    logger, _ = logger_to(stream)
    lines = [letter * (PIPE_BUF // 3) for letter in "abc"] + ["é" * PIPE_BUF, "end"]

    async def log() -> None:
        for line in lines:
            logger.info(line)

    asyncio.run(log())
    a, b, c, long, end = [line + "\n" for line in lines]
    assert stream.parts == [a + b, c, long, end]


def test_what_is_logged_while_a_line_is_formatted_loses_none() -> None:
    stream = Writes()
    logger, handler = logger_to(stream)

    class Talkative:
        def __str__(self) -> str:
            logger.warning("inner")
            return "words"

    async def log() -> None:
        logger.info("before")
        logger.info("outer %s", Talkative())

    asyncio.run(log())
    logger.info("outer %s", Talkative())
    handler.flush()
    assert "".join(stream.parts) == "before\ninner\nouter words\ninner\nouter words\n"


def test_a_write_that_fails_takes_no_other_line_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    stream = Writes()
    logger, _ = logger_to(stream)
    padding = "x" * PIPE_BUF  # each line is a write

    async def log() -> None:
        for name in ("first", "unwritable", "last"):
            logger.info(name + padding)

    asyncio.run(log())
    assert [part[:5] for part in stream.parts] == ["first", "lastx"]
    assert "no room" in capsys.readouterr().err


def test_what_waits_is_written_when_the_handler_closes_and_by_no_fork() -> None:
    stream = Writes()
    logger, handler = logger_to(stream)

    async def log() -> None:
        logger.info("waits")
        if child := os.fork():
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            handler.close()
        else:
            handler.flush()
            os._exit(len(stream.parts))

    asyncio.run(log())
    assert stream.parts == ["waits\n"]
