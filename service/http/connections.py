"""Bound what a connection may cost: bytes and fields of a request's head and of its trailers, seconds, connections.

uvicorn's parser collects a head of any size, waits for it for ever, and accepts connections until descriptors run
out. Here every head has a limit and a time, a client that does not read its answer is dropped, and where connections
run out the one that has waited longest without a request makes room.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import resource
import ssl
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, ClassVar, Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.http.disconnect import DEPARTURE, Departure
from service.http.problems import MEDIA_TYPE, route_path
from service.http.whole_writes import WholeWrites

logger = logging.getLogger(__name__)

# Model processes, log, listener, databases and files being decoded need descriptors too.
RESERVED_DESCRIPTORS: Final = 96
# Beyond the ceiling there is room for a few more that may ask after the server's health.
HEALTH_CONNECTIONS: Final = 16
HEALTH_PATHS: Final = ("/health/", "/v2/health/", "/metrics")
LINGER_SECONDS: Final = 2.0  # time that a refused client gets to read why
LOG_SECONDS: Final = 10.0  # at most one line about full connections in this time
# When to ask a client that has closed its half whether it is still there, in seconds; the last is repeated.
PROBES: Final = (0.01, 0.05, 0.25, 1.0)

_VERSIONS: Final = ("1.0", "1.1")
_SINGLE: Final = (b"host", b"authorization")  # two proxies could each believe another one of them
_UPGRADE: Final = (b"upgrade", b"http2-settings")
_HOST: Final = re.compile(rb"(\[[^\s\[\]]+\]|[^\s:/?#@\[\]]*)(:[0-9]{0,5})?|[0-9A-Fa-f]*(:[0-9A-Fa-f]*){2,}")


@dataclass(frozen=True)
class ConnectionLimits:
    """Limits of each connection, and of all.

    Attributes:
        head_bytes: Most bytes of a request's line and header fields.
        headers: Most header fields.
        head_seconds: Time from the connection, or the first byte of a later request, until the head is complete; and
            from an answer that did not wait for the body until that is, which nobody reads.
        write_seconds: Time that a client may leave an answer unread before the connection is dropped.
        connections: Most open connections; 0 is what the limit on descriptors leaves.
    """

    head_bytes: int = 65_536
    headers: int = 100
    head_seconds: float = 10.0
    write_seconds: float = 20.0
    connections: int = 0

    @property
    def ceiling(self) -> int:
        """Most connections that may ask for anything, at least 8."""
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if descriptors == resource.RLIM_INFINITY:
            return self.connections or 100_000
        room = descriptors - RESERVED_DESCRIPTORS - HEALTH_CONNECTIONS
        return max(8, min(self.connections or room, room))


@dataclass
class _Connections:
    """What the connections of a server know of each other."""

    ceiling: int
    waiting: dict[BoundedProtocol, None] = field(default_factory=dict)  # without a request, the oldest first
    told: float = -LOG_SECONDS


def bounded_protocol(limits: ConnectionLimits, tls: ssl.SSLContext | None = None) -> type[BoundedProtocol]:
    """Make the protocol class of one server, for uvicorn's setting `http`.

    Args:
        limits: Of its connections.
        tls: Encrypts them, on asyncio's own event loop only: uvloop's reads before a handshake can begin. uvicorn's
            settings would let an unfinished handshake last a minute, and leave it out of all limits.
    """
    shared = _Connections(limits.ceiling)
    return type("BoundedProtocol", (BoundedProtocol,), {"limits": limits, "shared": shared, "tls": tls})


class BoundedProtocol(HttpToolsProtocol):
    """HTTP/1.1 of uvicorn within limits. Use `bounded_protocol`, which says which."""

    limits: ClassVar[ConnectionLimits]
    shared: ClassVar[_Connections]
    tls: ClassVar[ssl.SSLContext | None]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or make room for it."""
        super().connection_made(transport)
        self._in_head, self._head_bytes, self._fields = True, 0, 0
        self._begun = False  # in the middle of a request
        self._departure = Departure()
        self._replay = b""  # the head of a request for another protocol, without that wish
        self._rest_at: int | None = None  # where the parser stopped behind such a head
        self._besides_body = 0  # bytes since the last one of the body: extensions of chunks, and trailer fields
        self._refusal: tuple[int, str, str] | None = None
        self._refused = False  # what comes is not read any more
        self._ended = False  # nothing more is sent
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._probe_timer: asyncio.TimerHandle | None = None
        self._rest_timer: asyncio.TimerHandle | None = None
        # What came before the end of the handshake was noted here; None once it is, and without one.
        self._early = bytearray() if self.tls else None
        self._make_room()
        if not transport.is_closing():
            self.shared.waiting[self] = None
            self._start_head_timer()
            if self.tls is not None:
                # It begins before anything is read: a task that is made here runs before the loop looks for data.
                self._handshake = self.loop.create_task(self._encrypt(transport, self.tls))

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection and its timers."""
        self.shared.waiting.pop(self, None)
        for timer in (self._head_timer, self._write_timer, self._probe_timer, self._rest_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)
        self._departure.happen()

    def data_received(self, data: bytes) -> None:
        """Feed the parser no more of a head than it may have."""
        if self._early is not None:
            self._early += data
            return
        while data and not self._refused and not self.transport.is_closing():
            if not self._in_head:
                piece, data = data, b""
                self._besides_body += len(piece)
            else:
                room = self.limits.head_bytes + 1 - self._head_bytes
                piece, data = (data, b"") if len(data) <= room else (data[:room], data[room:])
                self._head_bytes += len(piece)
            super().data_received(piece)
            if self._rest_at is not None:
                data = self._replay + piece[self._rest_at :] + data
                self._replay, self._rest_at, self._head_bytes = b"", None, 0
                self.parser = _parser(self)  # the other may have been told that this was the last request
            if self._in_head and self._head_bytes > self.limits.head_bytes:
                self._refuse(431, "head-too-large", f"The head is larger than {self.limits.head_bytes:,} bytes.")
            elif not self._in_head and self._besides_body > self.limits.head_bytes:
                detail = f"Extensions or trailer fields are larger than {self.limits.head_bytes:,} bytes."
                self._refuse(431, "trailers-too-large", detail)
        if self._in_head and self._head_bytes and self._head_timer is None:
            self._start_head_timer()

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Answer a client that has said all and closed its half; close for one that left in the middle.

        Whether it waits for the answer or has gone altogether can't be told from the end of what it sends. What
        is sent to one that has gone fails; so interim answers, which clients pass over, ask it now and then.
        """
        cycle = self.cycle
        if self._ended or self.scheme == "https":
            return None
        if cycle is not None and not cycle.response_complete and not cycle.more_body:
            cycle.keep_alive = False
            self._probe(0)
            return True
        if self._begun:
            self._refuse(400, "incomplete-request", "The connection was closed in the middle of the request.")
        return None

    def on_message_begin(self) -> None:
        """Start to count the fields of a head."""
        super().on_message_begin()
        self._fields, self._begun = 0, True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a field; one behind the body must not pass for one of the head."""
        self._fields += 1
        if self._fields > self.limits.headers:
            self._refusal = (431, "too-many-headers", f"The head has more than {self.limits.headers} fields.")
            raise HttpParserError("too many header fields")
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Hand the request on, unless its head is ambiguous; what follows is its body."""
        if fault := self._fault_of_head():
            self._refusal = (400, "malformed-request", fault)
            raise HttpParserError(fault)
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            self._replay = self._head_without_upgrade()  # the parser would pass over its body
            return
        self._in_head, self._head_bytes, self._besides_body = False, 0, 0
        self._cancel_head_timer()
        self.shared.waiting.pop(self, None)
        self.scope["state"][DEPARTURE] = self._departure
        super().on_headers_complete()
        self.cycle.transport = WholeWrites(self.transport, self.loop)

    def on_body(self, body: bytes) -> None:
        """Hand on a piece of the body."""
        self._besides_body = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Expect the next head."""
        if self._replay:
            return
        super().on_message_complete()
        self._in_head, self._head_bytes, self._begun = True, 0, False
        if self._rest_timer is not None:
            self._rest_timer.cancel()
            self._rest_timer = None
        # A large last piece has stopped the reading, and work that asks for no more would not hear of a departure.
        if not self.pipeline:
            self.flow.resume_reading()

    def on_response_complete(self) -> None:
        """Wait for the next request, and for the rest of this one where it was answered early."""
        super().on_response_complete()
        if self._refused:
            self._close_or_abort()
        elif self.cycle is not None and self.cycle.response_complete and self.cycle.more_body:
            self._rest_timer = self.loop.call_later(self.limits.head_seconds, self._close_or_abort)
        if not self.transport.is_closing() and (self.cycle is None or self.cycle.response_complete):
            self.shared.waiting[self] = None

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser could not read, as a problem document."""
        status, kind, detail = self._refusal or (400, "malformed-request", "This is not an HTTP request.")
        self._refuse(status, kind, detail)

    def pause_writing(self) -> None:
        """Give the client some time to read what it has been sent."""
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(self.limits.write_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Note that the client reads."""
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection; what its client has not read for so long, it will not read."""
        self._close_or_abort()

    def shutdown(self) -> None:
        """Close when the answer in progress has been sent; one that is not read does not hold the server up."""
        super().shutdown()
        seconds = min(self.limits.write_seconds, LINGER_SECONDS)
        if self.flow.write_paused or self.transport.get_write_buffer_size():
            self.loop.call_later(seconds, self._abort_if_unread)

    def _unsupported_upgrade_warning(self) -> None:
        """Go on in HTTP/1.1, as a server may: some clients ask for HTTP/2 with their first request."""
        error = sys.exception()  # uvicorn calls this while it handles the parser's
        self._rest_at = error.args[0] if isinstance(error, HttpParserUpgrade) else None

    def _head_without_upgrade(self) -> bytes:
        lines = [self.parser.get_method() + b" " + self.url + b" HTTP/" + self.parser.get_http_version().encode()]
        for name, value in self.headers:
            if name == b"connection":
                tokens = (token.strip() for token in value.split(b","))
                value = b", ".join(token for token in tokens if token.lower() not in _UPGRADE)
            if name not in _UPGRADE:
                lines.append(name + b": " + value)
        return b"\r\n".join([*lines, b"", b""])

    def _fault_of_head(self) -> str | None:
        version: str = self.parser.get_http_version()
        if version not in _VERSIONS:
            return "This server speaks HTTP/1.1 and HTTP/1.0."
        values: dict[bytes, bytes] = {}
        for name, value in self.headers:
            if name in _SINGLE:
                if name in values:
                    return f"The head has several fields {name.decode().capitalize()}."
                values[name] = value
        host = values.get(b"host")
        if host is None:
            return "An HTTP/1.1 request names its host." if version == "1.1" else None
        return None if _HOST.fullmatch(host.strip()) else "The field Host is no host name with or without a port."

    def _make_room(self) -> None:
        shared = self.shared
        if len(self.connections) <= shared.ceiling:
            return
        now = self.loop.time()
        if now - shared.told >= LOG_SECONDS:
            shared.told = now
            logger.warning("all %d connections are taken; those that wait longest are closed", shared.ceiling)
        oldest = next(iter(shared.waiting), None)
        if oldest is not None:
            del shared.waiting[oldest]
            self.connections.discard(oldest)
            oldest.transport.abort()
        elif len(self.connections) <= shared.ceiling + HEALTH_CONNECTIONS:
            self.app = _health_only(self.app)
        else:
            self.transport.abort()

    async def _encrypt(self, transport: asyncio.Transport, tls: ssl.SSLContext) -> None:
        """Do the handshake; it counts as a part of the first head."""
        encrypted = None
        with suppress(OSError):  # an SSLError too
            encrypted = await self.loop.start_tls(
                transport, self, tls, server_side=True, ssl_handshake_timeout=self.limits.head_seconds
            )
        if encrypted is None:  # closed meanwhile, and nobody else says so
            if self.parser is not None:
                self.connection_lost(None)
            return
        self.transport = encrypted
        self.flow, self.scheme = FlowControl(self.transport), "https"
        early, self._early = self._early, None
        if early:
            self.data_received(bytes(early))

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(self.limits.head_seconds, self._give_up_head)

    def _give_up_head(self) -> None:
        """Close; whoever has begun a request is told why, and an answer in progress is finished."""
        if self._begun:
            seconds = f"{self.limits.head_seconds:g}"
            self._refuse(400, "incomplete-request", f"The head was not complete after {seconds} seconds.")
        else:
            self._close_or_abort()

    def _cancel_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _probe(self, number: int) -> None:
        if self._ended or self.transport.is_closing() or self.cycle.response_started:
            return
        if self.cycle.scope["http_version"] == "1.1":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        seconds = PROBES[min(number, len(PROBES) - 1)]
        self._probe_timer = self.loop.call_later(seconds, self._probe, number + 1)

    def _close_or_abort(self) -> None:
        if self.transport.is_closing():
            return
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    def _abort_if_unread(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()

    def _refuse(self, status: int, kind: str, detail: str) -> None:
        """Answer, and read on for a moment: a connection closed with something unread is reset, answer and all."""
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self._cancel_head_timer()
        logger.info("a request is refused with a %d: %s", status, detail)
        if self.cycle is not None and self.cycle.response_complete and not self._in_head:
            self._close_or_abort()  # it is the body of one that has been answered: a second answer would be the next's
            return
        if self.cycle is not None and not self.cycle.response_complete:
            if self._in_head or self.pipeline:  # it came behind others: the one in progress is answered, as the last
                self.pipeline.clear()
                return
            self.cycle.disconnected = True  # it is the body of the one in progress
            self.cycle.waiting_for_100_continue = False  # or it would be asked for behind the refusal
            self.cycle.message_event.set()
            if self.cycle.response_started:
                self._close_or_abort()
                return
        self._ended = True
        self.transport.write(_response(status, kind, detail, protocol=getattr(self, "url", b"").startswith(b"/v2")))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)


def _parser(protocol: BoundedProtocol) -> HttpRequestParser:
    """Make a parser as uvicorn does."""
    parser = HttpRequestParser(protocol)
    with suppress(AttributeError):  # of httptools before 0.6.3
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser


def _response(status: int, kind: str, detail: str, *, protocol: bool) -> bytes:
    phrase = HTTPStatus(status).phrase
    problem: dict[str, Any] = {"type": f"urn:ait:{kind}", "title": phrase, "status": status, "detail": detail}
    body = json.dumps({"error": detail} if protocol else problem).encode()
    head = (
        f"HTTP/1.1 {status} {phrase}\r\ncontent-type: {'application/json' if protocol else MEDIA_TYPE}\r\n"
        f"content-length: {len(body)}\r\ncache-control: no-store\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body


def _health_only(app: ASGIApp) -> ASGIApp:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or route_path(scope).startswith(HEALTH_PATHS):
            await app(scope, receive, send)
            return
        raw = _response(503, "unavailable", "All connections are taken.", protocol=scope["path"].startswith("/v2"))
        body = raw.partition(b"\r\n\r\n")[2]
        headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
        headers += [(b"retry-after", b"1"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return answer
