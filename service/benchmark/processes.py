"""Memory and processor time of a server's processes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import psutil


class ServerProcesses:
    """A process and its descendants."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)

    def memory(self) -> int:
        """Return the bytes in memory (RSS) of all processes; a page that two of them share counts twice."""
        return int(sum(self._each(lambda process: process.memory_info().rss)))

    def cpu(self) -> float:
        """Return the seconds of processor time, user and system, of the processes that are alive."""
        return sum(self._each(lambda process: float(sum(process.cpu_times()[:2]))))

    def all(self) -> list[psutil.Process]:
        """Return the processes that are alive, the root first."""
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
    """Return the seconds of processor time that this machine has spent on all programs since it started."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))


def listening_on(port: int) -> int | None:
    """Return the process that listens on a TCP port of this machine: the oldest of several; None if unknown."""
    found = []
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
            with suppress(psutil.Error):
                found.append(psutil.Process(connection.pid))
    return min(found, key=lambda process: process.create_time()).pid if found else None
