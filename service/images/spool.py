"""The files of a large request: a little of them in memory, the rest in a temporary file without a name."""

from __future__ import annotations

import asyncio
import hashlib
import io
import logging
import os
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

logger = logging.getLogger(__name__)

IN_MEMORY: Final = 4_000_000  # bytes of a request; beyond, they are written to the file
_CHUNK: Final = 1 << 20


class Spool:
    """What a request sends, one file after the other.

    What has been received can be read on any thread. The temporary file has no name, so nothing is left of it when the
    process ends, however it does; it is closed when nobody refers to the spool or its files any more. Where there is
    no place for one, as on a file system that is read-only or full, everything stays in memory.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self._names: list[str | None] = []
        self._starts: list[int] = []
        self._memory = bytearray()  # what follows on what is in the file
        self._in_file = 0
        self._file: IO[bytes] | None = None
        self._nowhere = False

    def begin(self, filename: str | None) -> None:
        """Take what is added from here on as a new file."""
        self._names.append(filename)
        self._starts.append(self._in_file + len(self._memory))

    def add(self, data: bytes) -> None:
        """Take the next bytes of the file."""
        self._memory += data

    async def settle(self) -> None:
        """Write what is too much for memory; to be awaited between one piece of the request and the next."""
        if len(self._memory) > IN_MEMORY and not self._nowhere:
            await asyncio.to_thread(self._write)

    def files(self) -> list[SpooledFile]:
        """List the files once all has been received."""
        ends = [*self._starts[1:], self._in_file + len(self._memory)]
        places = zip(self._names, self._starts, ends, strict=True)
        return [SpooledFile(filename, self, start, end - start) for filename, start, end in places]

    def read(self, start: int, count: int) -> bytes:
        """Read so many bytes from a place on; fewer at the end."""
        data = b""
        if self._file is not None and start < self._in_file:
            data = os.pread(self._file.fileno(), min(count, self._in_file - start), start)
        if len(data) == count or start + len(data) < self._in_file:
            return data
        place = start + len(data) - self._in_file
        return data + bytes(self._memory[place : place + count - len(data)])

    def _write(self) -> None:
        try:
            if self._file is None:
                # It outlives this call, and is closed when the last part of the request has been used.
                with ExitStack() as held:
                    self._file = held.enter_context(tempfile.TemporaryFile(buffering=0))
                    weakref.finalize(self, held.pop_all().close)
            done = 0
            while done < len(self._memory):
                piece = bytes(self._memory[done : done + _CHUNK])
                done += os.pwrite(self._file.fileno(), piece, self._in_file + done)
        except OSError as error:
            logger.warning("large requests stay in memory, as there is no place for a temporary file: %s", error)
            self._nowhere = True
            return
        self._in_file += len(self._memory)
        self._memory.clear()


@dataclass(frozen=True)
class SpooledFile:
    """One file of a request; `filename` is whatever the client calls it."""

    filename: str | None
    spool: Spool
    start: int
    length: int

    def read(self) -> bytes:
        """Read all of it."""
        return b"".join(self.pieces(max(self.length, 1)))

    def startswith(self, prefixes: tuple[bytes, ...]) -> bool:
        """Find out whether it begins with one of these."""
        return self.spool.read(self.start, min(self.length, max(map(len, prefixes)))).startswith(prefixes)

    def sha256(self) -> str:
        """Hash it with SHA-256, in hexadecimal."""
        digest = hashlib.sha256()
        for piece in self.pieces(_CHUNK):
            digest.update(piece)
        return digest.hexdigest()

    def open(self) -> io.BufferedReader:
        """Open it for reading at any place."""
        return io.BufferedReader(_Window(self), 65_536)

    def pieces(self, size: int) -> Iterator[bytes]:
        """Read it in pieces of at most so many bytes."""
        place, end = self.start, self.start + self.length
        while place < end and (piece := self.spool.read(place, min(size, end - place))):
            place += len(piece)
            yield piece


class _Window(io.RawIOBase):
    """A spooled file as Python's libraries read files."""

    def __init__(self, file: SpooledFile) -> None:
        self._spooled, self._place = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._spooled.length}[whence]
        if base + offset < 0:
            raise OSError("a place before the beginning")
        self._place = base + offset
        return self._place

    def readinto(self, buffer: WriteableBuffer) -> int:
        room = memoryview(buffer).cast("B")
        count = max(min(len(room), self._spooled.length - self._place), 0)
        data = self._spooled.spool.read(self._spooled.start + self._place, count)
        room[: len(data)] = data
        self._place += len(data)
        return len(data)
