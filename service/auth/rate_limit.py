"""Rate limits: requests per second on average, and how many may come at once (a token bucket)."""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

_SECONDS = struct.Struct("<d")


class RateLimits:
    """Counts requests by name. With a folder, the processes that share it count together."""

    def __init__(self, folder: Path | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """Start without any requests counted.

        Args:
            folder: shared by the processes of a server; None counts in this process alone.
            clock: tells seconds, the same ones in all processes of the machine.
        """
        self._folder, self._clock = folder, clock
        self._due: dict[str, float] = {}
        self._files: dict[str, int] = {}

    def take(self, name: str, rate: float, burst: int) -> float:
        """Count a request.

        Args:
            name: of the client.
            rate: requests per second, above 0.
            burst: requests that may come at once after a pause, at least 1.

        Returns:
            0.0 if the request may go on; otherwise it was not counted, and may come again in so many seconds.
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
        """Close the files."""
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
    """Return the seconds to wait, and when the next request would be due at an even pace.

    A request may come ahead of its time by as much as lets `burst` of them come at once.
    """
    due = now if due is None else max(due, now)
    wait = due - now - (burst - 1) / rate
    return (wait, due) if wait > 1e-9 else (0.0, due + 1 / rate)
