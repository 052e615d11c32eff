"""Log lines on stderr: one JSON object each, or plain text. Those of a request carry its id."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from datetime import UTC, datetime
from select import PIPE_BUF
from typing import Any, Literal, TextIO

import orjson

from service.observability.request_context import CURRENT

LogFormat = Literal["auto", "json", "text"]

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}


def configure_logging(form: LogFormat) -> None:
    """Send the log of this process to stderr, unless it goes somewhere already.

    Args:
        form: "json", "text", or "auto" for text on a terminal and JSON elsewhere.
    """
    as_text = form == "text" or (form == "auto" and sys.stderr.isatty())
    handler = TurnHandler(sys.stderr)
    handler.setFormatter(TextFormatter() if as_text else JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.captureWarnings(True)
    _leave_out_what_no_line_tells()
    for name, level in {"uvicorn.error": logging.WARNING, "timm": logging.WARNING, "httpx": logging.WARNING}.items():
        logging.getLogger(name).setLevel(level)


def _leave_out_what_no_line_tells() -> None:
    """Have no record look for its caller, thread and process, by the switches that logging documents for that."""
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


class TurnHandler(logging.StreamHandler[TextIO]):
    """Write lines to a stream, those that one turn of an event loop logs together: each write costs as much as a line.

    Warnings, and lines of threads without a loop, are written at once, after what waits.
    """

    def __init__(self, stream: TextIO) -> None:
        """Begin with nothing that waits."""
        super().__init__(stream)
        self._waiting: list[tuple[logging.LogRecord, str]] = []
        self._loop: asyncio.AbstractEventLoop | None = None  # whose turn's end writes what waits
        os.register_at_fork(after_in_child=self._waiting.clear)  # its parent writes them

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record now, or at the end of the turn."""
        try:
            line = self.format(record) + self.terminator  # which may log itself
            self._waiting.append((record, line))
            loop = _running_loop()
            if loop is None or record.levelno >= logging.WARNING:
                self._write()
            elif loop is not self._loop:
                loop.call_soon(self.flush)
                self._loop = loop
        except Exception:  # as all of logging does: what cannot be told stops nobody's work
            self._write()
            self.handleError(record)

    def flush(self) -> None:
        """Write what waits."""
        self.acquire()
        try:
            self._loop = None
            self._write()
        finally:
            self.release()
        super().flush()

    def close(self) -> None:
        """Write what waits, and write no more."""
        self.flush()
        super().close()

    def _write(self) -> None:
        while self._waiting:
            count = self._fitting()
            together, self._waiting[:count] = self._waiting[:count], []
            try:
                self.stream.write("".join(line for _, line in together))
                self.stream.flush()
            except Exception:  # likewise, whatever the stream is; the lines after these are written all the same
                self.handleError(together[0][0])

    def _fitting(self) -> int:
        """Count the lines that a pipe takes as a whole: those of other processes may come between two writes."""
        encoding, errors = self.stream.encoding or "utf-8", self.stream.errors or "replace"
        size = 0
        for count, (_, line) in enumerate(self._waiting):
            size += len(line) if line.isascii() else len(line.encode(encoding, errors))
            if count and size > PIPE_BUF:
                return count
        return len(self._waiting)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class JsonFormatter(logging.Formatter):
    """Format a record as one line of JSON: time (RFC 3339, UTC), level, logger, message and extra fields."""

    def __init__(self) -> None:
        """Begin with no second written yet."""
        super().__init__()
        self._second = (-1, "")  # the last one that was written, and how

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        document: dict[str, Any] = {
            "time": self._time(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_context(),
            **_extra(record),
        }
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            document["stack"] = self.formatStack(record.stack_info)
        return _encode(document)

    def _time(self, created: float) -> str:
        second, milliseconds = divmod(int(created * 1000), 1000)
        known, text = self._second
        if known != second:
            text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
            self._second = second, text
        return f"{text}.{milliseconds:03d}Z"


class TextFormatter(logging.Formatter):
    """Format a record as a line for people; what clients sent cannot break it into two."""

    def __init__(self) -> None:
        """Begin each line with the local time."""
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  the base class calls it so
        """Return the line of a record without its exception."""
        fields = {**_context(), **_extra(record)}
        line = super().formatMessage(record) + "".join(f" {name}={value}" for name, value in fields.items())
        return "".join(each if each.isprintable() else repr(each)[1:-1] for each in line)


def _encode(document: dict[str, Any]) -> str:
    """Write a line in ASCII, which survives any locale; nearly all are by themselves, which orjson makes use of."""
    try:
        line = orjson.dumps(document, default=str).decode()
    except TypeError:  # a lone surrogate, or a very long integer
        line = ""
    return line if line and line.isascii() else json.dumps(document, default=str)


def _context() -> dict[str, str]:
    record = CURRENT.get()
    if record is None:
        return {}
    return {"request_id": record.id} | ({"trace_id": record.trace_id} if record.trace_id else {})


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    # What begins with an underline is the business of the library that put it there.
    return {name: value for name, value in vars(record).items() if name not in _STANDARD and name[0] != "_"}
