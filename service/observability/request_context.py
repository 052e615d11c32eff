"""The record of the request that the running task answers, for its log line, its metrics and its trace."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass

from starlette.types import Scope

from service.observability.events import Observer

_SCOPE_KEY = "ait.record"
_SANE_ID = re.compile(rb"[A-Za-z0-9._:@/+=-]{1,128}")


@dataclass(slots=True)
class RequestRecord:
    """What is known of one request; times are in seconds.

    Attributes:
        id: names the request in the answer, in the log and in problem documents.
        key: name of the API key that it carried.
        model: that answered; empty until one has.
        version: of the model.
        images: images or tensors that the model was given.
        queue: time of waiting, for a decoder and for the model.
        decode: time of decoding.
        infer: time in the model.
        trace_id: of its trace, in hexadecimal; empty without one.
    """

    id: str
    key: str = ""
    model: str = ""
    version: str = ""
    images: int = 0
    queue: float = 0.0
    decode: float = 0.0
    infer: float = 0.0
    trace_id: str = ""


# The record of the request that the running task works for.
CURRENT: ContextVar[RequestRecord | None] = ContextVar("request_record", default=None)


def begin(scope: Scope) -> RequestRecord:
    """Begin the record of a request; `record_of` finds it from here on."""
    record = scope[_SCOPE_KEY] = RequestRecord(_request_id(scope["headers"]))
    return record


def record_of(scope: Scope) -> RequestRecord | None:
    """Return the record of a request, if one is kept."""
    record: RequestRecord | None = scope.get(_SCOPE_KEY)
    return record


class RecordKeeper(Observer):
    """Writes the events of a request into its record."""

    def decoded(self, images: int, queue: float, seconds: float) -> None:
        if record := CURRENT.get():
            record.queue += queue
            record.decode += seconds

    def inferred(self, model: str, version: str, operation: str, inputs: int, queue: float, infer: float) -> None:
        if record := CURRENT.get():
            record.model, record.version = model, version
            record.images = max(record.images, inputs)  # some operations ask the model twice about the same ones
            record.queue += queue
            record.infer += infer


def _request_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the id that the client gave, if it may stand in a log; else a random one."""
    for name, value in headers:
        if name == b"x-request-id" and _SANE_ID.fullmatch(value):
            return value.decode()
    return os.urandom(12).hex()
