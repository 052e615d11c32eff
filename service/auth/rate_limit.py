"""How often somebody may ask: so many times a second, and so many at once."""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

_SECONDS = struct.Struct("<d")


class Rates:
    """Counts requests by name. With a folder, the processes that share it count together."""

    def __init__(self, folder: Path | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds, and the same ones in all processes of the machine."""
        self._folder, self._clock = folder, clock
        self._due: dict[str, float] = {}
        self._files: dict[str, int] = {}

    def take(self, name: str, rate: float, burst: int) -> float:
        """Counts a request.

        Args:
            name: who asks.
            rate: requests a second, above 0.
            burst: requests that may come at once after a pause, at least 1.

        Returns:
            0.0 if it may go on; else it has not been counted, and these are the seconds until it may.
        """
        if self._folder is None:
            wait, self._due[name] = _count(self._due.get(name), self._clock(), rate, burst)
            return wait
        file = self._open(name)
        fcntl.flock(file, fcntl.LOCK_EX)  # for microseconds; a process that dies lets go of it
        try:
            data = os.pread(file, _SECONDS.size, 0)
            due = _SECONDS.unpack(data)[0] if len(data) == _SECONDS.size else None
            wait, due = _count(due, self._clock(), rate, burst)
            os.pwrite(file, _SECONDS.pack(due), 0)
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)
        return wait

    def close(self) -> None:
        """Closes the files."""
        for file in self._files.values():
            os.close(file)
        self._files.clear()

    def _open(self, name: str) -> int:
        if name not in self._files:
            assert self._folder is not None
            path = self._folder / f"rate-{hashlib.sha256(name.encode()).hexdigest()[:32]}"
            self._files[name] = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return self._files[name]


def _count(due: float | None, now: float, rate: float, burst: int) -> tuple[float, float]:
    """(seconds to wait, when the next request would be due at an even pace).

    A request may come ahead of its time by what makes `burst` of them at once.
    """
    due = now if due is None else max(due, now)
    wait = due - now - (burst - 1) / rate
    return (wait, due) if wait > 1e-9 else (0.0, due + 1 / rate)
