"""Send messages between the front and a model's process: a small JSON header and arrays, length-framed.

Nothing is unpickled on either side. A frame is two lengths, the header, and the arrays' bytes, each array at a
multiple of 64 bytes.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_LENGTHS = struct.Struct("<IQ")  # bytes of the header, bytes of the arrays
_ALIGNMENT = 64


@dataclass(frozen=True)
class Message:
    """A `header`, anything that JSON can say, and the arrays that go with it."""

    header: dict[str, Any]
    arrays: dict[str, np.ndarray] = field(default_factory=dict)


def encode(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None) -> list[bytes | memoryview]:
    """Encode a frame as parts, to be sent one after the other; arrays that are contiguous are not copied."""
    parts: list[bytes | memoryview] = []
    described, length = [], 0
    for name, array in (arrays or {}).items():
        if array.dtype.hasobject:
            raise TypeError(f"Array {name!r} holds Python objects, which are not sent.")
        described.append((name, array.dtype.str, array.shape))
        if array.nbytes:
            padding = -array.nbytes % _ALIGNMENT
            parts += [np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, bytes(padding)]
            length += array.nbytes + padding
    text = json.dumps({**header, "arrays": described}).encode()
    return [_LENGTHS.pack(len(text), length) + text, *parts]


class Decoder:
    """Decode messages from bytes that come in any pieces."""

    def __init__(self) -> None:
        """Begin without any bytes."""
        self._buffer = bytearray()

    def feed(self, data: bytes | bytearray | memoryview) -> Iterator[Message]:
        """Take the next bytes and yield the messages that are complete now."""
        self._buffer += data
        while len(self._buffer) >= _LENGTHS.size:
            header, body = _LENGTHS.unpack_from(self._buffer)
            end = _LENGTHS.size + header + body
            if len(self._buffer) < end:
                return
            frame, self._buffer = self._buffer[_LENGTHS.size : end], self._buffer[end:]
            yield _message(frame[:header], frame[header:])


def receive(connection: socket.socket) -> Message | None:
    """Wait for the next message on a blocking socket; None when the other side has closed it."""
    lengths = _receive_exactly(connection, _LENGTHS.size)
    if lengths is None:
        return None
    header_length, body_length = _LENGTHS.unpack(lengths)
    header = _receive_exactly(connection, header_length)
    body = _receive_exactly(connection, body_length)
    return None if header is None or body is None else _message(header, body)


def send(connection: socket.socket, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None) -> None:
    """Send a message on a blocking socket."""
    connection.sendall(b"".join(encode(header, arrays)))


def _message(header: bytearray, body: bytearray) -> Message:
    fields = json.loads(header)
    arrays, start = {}, 0
    for name, kind, shape in fields.pop("arrays"):
        dtype = np.dtype(kind)
        count = int(np.prod(shape, dtype=np.int64))
        arrays[name] = np.frombuffer(body, dtype, count, start if count else 0).reshape(shape)
        start += count * dtype.itemsize + -(count * dtype.itemsize) % _ALIGNMENT
    return Message(fields, arrays)


def _receive_exactly(connection: socket.socket, length: int) -> bytearray | None:
    data = bytearray(length)
    view = memoryview(data)
    while view:
        received = connection.recv_into(view)
        if not received:
            return None
        view = view[received:]
    return data
