"""Stop taking connections without resetting one that the kernel has already taken."""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

_ATTACH_FILTER: Final = 26  # SO_ATTACH_FILTER of Linux, which the socket module does not name
_FLAGS_BYTE, _SYN = 13, 0x02  # of a TCP segment's head
# Classic BPF over the segment: code, jump if true, jump if false, operand.
_WITHOUT_SYN: Final = (
    (0x30, 0, 0, _FLAGS_BYTE),  # load the flags
    (0x45, 0, 1, _SYN),  # if it asks for a connection,
    (0x06, 0, 0, 0),  # drop it,
    (0x06, 0, 0, 0xFFFFFFFF),  # else keep it whole
)


def refuse_new(listener: socket.socket) -> None:
    """Have the kernel pass over whoever asks for a connection from now on; what it has begun it finishes.

    Who asks is not answered, asks again after a second, and finds the port closed. Without this, the kernel would take
    connections until the moment at which the listener is closed, and reset those that nobody has accepted by then. The
    listener can't be used again, by any process that shares it. Only Linux can do so; elsewhere nothing changes.

    Args:
        listener: A listening TCP socket.
    """
    program = b"".join(struct.pack("HBBI", *instruction) for instruction in _WITHOUT_SYN)
    held = ctypes.create_string_buffer(program, len(program))
    with suppress(OSError):
        listener.setsockopt(
            socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("HP", len(_WITHOUT_SYN), ctypes.addressof(held))
        )


def accept_waiting(listener: socket.socket) -> Iterator[socket.socket]:
    """Accept the connections that the kernel has taken already: closing the listener would reset them."""
    listener.setblocking(False)
    with suppress(OSError):
        while True:
            yield listener.accept()[0]
