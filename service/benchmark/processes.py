"""What the processes of a server take: memory and processor time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import psutil


class ServerProcesses:
    """A process and all that it started, and those started in turn."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)

    def memory(self) -> int:
        """Bytes in memory (RSS) of all processes; a page that two of them share counts twice."""
        return int(sum(self._each(lambda process: process.memory_info().rss)))

    def cpu(self) -> float:
        """Seconds of processor time, user and system, that the processes that are alive have taken."""
        return sum(self._each(lambda process: sum(process.cpu_times()[:2])))

    def all(self) -> list[psutil.Process]:
        """The processes that are alive."""
        with suppress(psutil.NoSuchProcess):
            return [self._root, *self._root.children(recursive=True)]
        return []

    def _each(self, measure: Callable[[psutil.Process], float]) -> list[float]:
        values = []
        for process in self.all():
            with suppress(psutil.NoSuchProcess):
                values.append(measure(process))
        return values


def busy_seconds() -> float:
    """Seconds of processor time that this machine has given to all programs, those of its other guests too."""
    times = psutil.cpu_times()
    return sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)


def listening_on(port: int) -> int | None:
    """The process that listens on a TCP port of this machine: the eldest, if several share it; None if unknown."""
    found = []
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
            with suppress(psutil.Error):
                found.append(psutil.Process(connection.pid))
    return min(found, key=lambda process: process.create_time()).pid if found else None
