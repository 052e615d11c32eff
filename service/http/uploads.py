"""Read the images of a request: one raw body, or the files of a multipart form.

The body is counted while it arrives, so that a limit holds with or without a Content-Length. Files stay in
memory, which the limit bounds.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from service.http.problems import Problem
from service.images.upload import Upload

FIELD = "file"


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
        Problem: 400 for a broken form or one without files, 413 for too many bytes or files.
        ClientDisconnect: The client left before it had sent everything.
    """
    media_type, options = parse_options_header(request.headers.get("content-type"))
    if media_type == b"multipart/form-data":
        return await _read_form(request, options.get(b"boundary"), limits)
    body = bytearray()
    async for chunk in limited(request, limits.body_bytes):
        body += chunk
    return [Upload(body)]


async def limited(request: Request, limit: int) -> AsyncIterator[bytes]:
    """Read the body as it arrives, up to a limit.

    Raises:
        Problem: 413 for more bytes than the limit.
        ClientDisconnect: The client left before it had sent everything.
    """
    too_large = Problem(
        413,
        "too-many-bytes",
        f"The request is larger than the {limit:,} bytes that are accepted.",
        title="The request is too large",
    )
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise too_large
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise too_large
        yield chunk


async def _read_form(request: Request, boundary: bytes | None, limits: UploadLimits) -> list[Upload]:
    if not boundary:
        raise _malformed("The multipart content type names no boundary.")
    collector = _Collector(limits.files)
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
        async for chunk in limited(request, limits.body_bytes):
            parser.write(chunk)
        parser.finalize()
    except FormParserError as error:
        raise _malformed("The multipart body is malformed.") from error
    if not collector.ended:
        raise _malformed("The multipart body ends too early.")
    if not collector.uploads:
        raise Problem(400, "no-file", f"The form has no file in a field named {FIELD!r}.", title="No image was sent")
    return collector.uploads


@dataclass
class _Collector:
    """Callbacks of the parser; keeps the parts of the field `file` and skips all others."""

    max_files: int
    uploads: list[Upload] = field(default_factory=list)
    ended: bool = False
    _name: bytes = b""
    _value: bytes = b""
    _disposition: bytes = b""
    _current: bytearray | None = None

    def begin_part(self) -> None:
        self._disposition, self._current = b"", None

    def add_header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def add_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def end_header(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = self._value
        self._name = self._value = b""

    def begin_data(self) -> None:
        _, options = parse_options_header(self._disposition)
        if options.get(b"name") != FIELD.encode():
            return
        if len(self.uploads) == self.max_files:
            raise Problem(
                413,
                "too-many-files",
                f"A request may have {self.max_files} files. Send the others in another one.",
                title="The request has too many files",
            )
        self._current = bytearray()
        filename = options.get(b"filename")
        self.uploads.append(Upload(self._current, filename.decode("utf-8", "replace") if filename else None))

    def add_data(self, data: bytes, start: int, end: int) -> None:
        if self._current is not None:
            self._current += data[start:end]

    def end(self) -> None:
        self.ended = True


def _malformed(detail: str) -> Problem:
    return Problem(400, "malformed-form", detail, title="The form cannot be read")
