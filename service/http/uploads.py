"""Read the images of a request: one raw body, or the files of a multipart form.

The body is counted while it arrives, so that a limit holds with or without a Content-Length. Files stay in
memory, which the limit bounds; those of requests that may be large go through a `Spool`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from service.http.problems import Problem
from service.images.spool import Spool, SpooledFile
from service.images.upload import Upload
from service.inference_protocol import Inflater

FIELD = "file"
OTHER_PARTS: Final = 64  # fields of a form besides its files, which some clients send along
PART_HEADERS: Final = 16
PART_HEADER_BYTES: Final = 8192
PREAMBLE_BYTES: Final = 65_536


@dataclass(frozen=True)
class UploadLimits:
    """Most bytes of a body, and most files in it."""

    body_bytes: int
    files: int


async def read_uploads(request: Request, limits: UploadLimits) -> list[Upload]:
    """Read the whole body.

    The content type only tells a multipart form from a raw body; whether the bytes are an image is for
    their content to say.

    Raises:
        Problem: 400 for a broken form or one without files, 413 for too many bytes, files or parts.
        ProtocolError: The body is not compressed as its Content-Encoding says.
        ClientDisconnect: The client left before it had sent everything.
    """
    media_type, options = parse_options_header(request.headers.get("content-type"))
    if media_type != b"multipart/form-data":
        return [Upload(await read_body(request, limits.body_bytes))]
    uploads: list[Upload] = []

    def begin(filename: str | None) -> Callable[[bytes], object]:
        data = bytearray()
        uploads.append(Upload(data, filename))
        return data.extend

    await _receive_form(request, options.get(b"boundary"), limits, begin)
    return uploads


async def spool_uploads(request: Request, limits: UploadLimits) -> list[SpooledFile]:
    """Read the whole body as `read_uploads` does, but keep no more than a part of it in memory.

    Raises:
        Exception: As `read_uploads`.
    """
    spool = Spool()

    def begin(filename: str | None) -> Callable[[bytes], object]:
        spool.begin(filename)
        return spool.add

    media_type, options = parse_options_header(request.headers.get("content-type"))
    if media_type == b"multipart/form-data":
        await _receive_form(request, options.get(b"boundary"), limits, begin, spool.settle)
    else:
        add = begin(None)
        async for piece in _pieces(request, limits.body_bytes):
            add(piece)
            await spool.settle()
    return spool.files()


async def read_body(request: Request, limit: int) -> bytearray:
    """Read the whole body, decompressed; the limit holds before and after that.

    Raises:
        Problem: 413 for too many bytes.
        TooLarge: Too many bytes after decompression.
        ProtocolError: The body is not compressed as its Content-Encoding says.
        ClientDisconnect: The client left before it had sent everything.
    """
    body = bytearray()
    if _inflater(request, limit) is None:  # a small body comes in one piece, and needs no generator
        incoming = _Incoming(request, limit)
        while piece := await incoming.next():
            body += piece
    else:
        async for piece in _pieces(request, limit):
            body += piece
    return body


class _Incoming:
    """The body of a request as it arrives, up to a limit."""

    def __init__(self, request: Request, limit: int) -> None:
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > limit:
            raise _too_large(limit)
        self._request, self._limit = request, limit
        self._size, self._more = 0, True

    async def next(self) -> bytes:
        """Wait for the next piece; empty at the end."""
        while self._more:
            message = await self._request.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            self._more = message.get("more_body", False)
            if piece := message.get("body", b""):
                self._size += len(piece)
                if self._size > self._limit:
                    raise _too_large(self._limit)
                return bytes(piece)
        return b""


def _inflater(request: Request, limit: int) -> Inflater | None:
    """Make what decompresses the body; None where it is not compressed."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    return None if encoding in ("", "identity") else Inflater(encoding, limit)


async def _pieces(request: Request, limit: int) -> AsyncIterator[bytes]:
    """Read the body as it arrives, decompressed."""
    incoming, inflater = _Incoming(request, limit), _inflater(request, limit)
    while piece := await incoming.next():
        if inflater is None:
            yield piece
            continue
        for inflated in inflater.feed(piece):
            yield inflated
            await asyncio.sleep(0)  # a few bytes may stand for many: others get their turn in between
    if inflater is not None:
        inflater.finish()


def _too_large(limit: int) -> Problem:
    return Problem(
        413,
        "too-many-bytes",
        f"The request is larger than the {limit:,} bytes that are accepted.",
        title="The request is too large",
    )


async def _receive_form(
    request: Request,
    boundary: bytes | None,
    limits: UploadLimits,
    begin: Callable[[str | None], Callable[[bytes], object]],
    settle: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Give the bytes of each file to what `begin` returns for its name; `settle` is awaited after each piece."""
    if not boundary:
        raise _malformed("The multipart content type names no boundary.")
    collector = _Collector(limits.files, begin)
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": collector.begin_part,
                "on_header_field": collector.add_header_name,
                "on_header_value": collector.add_header_value,
                "on_header_end": collector.end_header,
                "on_headers_finished": collector.begin_data,
                "on_part_data": collector.add_data,
                "on_end": collector.end,
            },
        )
        async for chunk in _without_preamble(_pieces(request, limits.body_bytes), boundary):
            parser.write(chunk)
            if settle is not None:
                await settle()
        parser.finalize()
    except FormParserError as error:
        raise _malformed("The multipart body is malformed.") from error
    if not collector.ended:
        raise _malformed("The multipart body ends too early.")
    if not collector.files:
        raise Problem(400, "no-file", f"The form has no file in a field named {FIELD!r}.", title="No image was sent")


async def _without_preamble(chunks: AsyncIterator[bytes], boundary: bytes) -> AsyncIterator[bytes]:
    """Leave out what comes before the first boundary, which RFC 2046 has clients say nothing in."""
    mark, held, found = b"--" + boundary, bytearray(), False
    async for chunk in chunks:
        if found:
            yield chunk
            continue
        held += chunk
        start = 0 if held.startswith(mark) else held.find(b"\n" + mark) + 1
        found = start > 0 or held.startswith(mark)
        if (start if found else len(held)) > PREAMBLE_BYTES:
            raise _malformed("The multipart body does not begin with its boundary.")
        if found:
            yield bytes(held[start:])


@dataclass
class _Collector:
    """Callbacks of the parser; passes the parts of the field `file` on and skips all others."""

    max_files: int
    begin: Callable[[str | None], Callable[[bytes], object]]
    files: int = 0
    ended: bool = False
    _name: bytes = b""
    _value: bytes = b""
    _disposition: bytes = b""
    _add: Callable[[bytes], object] | None = None
    _parts: int = 0
    _headers: int = 0
    _header_bytes: int = 0

    def begin_part(self) -> None:
        self._disposition, self._add = b"", None
        self._headers = self._header_bytes = 0
        self._parts += 1
        if self._parts > self.max_files + OTHER_PARTS:
            raise Problem(
                413,
                "too-many-parts",
                f"A form may have {self.max_files + OTHER_PARTS} parts, {self.max_files} of them files. "
                "Send the others in another one.",
                title="The form has too many parts",
            )

    def add_header_name(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._name += data[start:end]

    def add_header_value(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._value += data[start:end]

    def _count(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > PART_HEADER_BYTES or self._headers > PART_HEADERS:
            raise _malformed(
                f"A part of the form has more than {PART_HEADERS} headers, or more than {PART_HEADER_BYTES:,} bytes "
                "of them."
            )

    def end_header(self) -> None:
        self._headers += 1
        if self._name.lower() == b"content-disposition":
            self._disposition = self._value
        self._name = self._value = b""

    def begin_data(self) -> None:
        _, options = parse_options_header(self._disposition)
        if options.get(b"name") != FIELD.encode():
            return
        if self.files == self.max_files:
            raise Problem(
                413,
                "too-many-files",
                f"A request may have {self.max_files} files. Send the others in another one.",
                title="The request has too many files",
            )
        self.files += 1
        filename = options.get(b"filename")
        self._add = self.begin(filename.decode("utf-8", "replace") if filename else None)

    def add_data(self, data: bytes, start: int, end: int) -> None:
        if self._add is not None:
            self._add(data[start:end])

    def end(self) -> None:
        self.ended = True


def _malformed(detail: str) -> Problem:
    return Problem(400, "malformed-form", detail, title="The form cannot be read")
