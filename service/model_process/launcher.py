"""Start model processes: the front's end of `service.model_process.forkserver`."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
from contextlib import suppress

from service.model_process import forkserver
from service.observability.logs import LogFormat
from service.processes.child_process import python_command
from service.processes.machine import has_temporary_folder

logger = logging.getLogger(__name__)


class Launcher:
    """Have processes forked from one that has all libraries imported.

    That one is started when it is first needed, and again if it has died.
    """

    def __init__(self, log_format: LogFormat = "auto", *, torch: bool = True) -> None:
        """Prepare to start processes.

        Args:
            log_format: Of their logs: see `service.observability.logs`.
            torch: Whether they have torch imported, where it is installed; it takes seconds, and much memory.
        """
        self._log_format = log_format
        self._torch = torch
        self._light: Launcher | None = None
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._text = b""
        self._exit_codes: dict[int, asyncio.Future[int]] = {}

    @property
    def light(self) -> Launcher:
        """One that starts processes without torch; it is closed with this one."""
        if self._light is None:
            self._light = Launcher(self._log_format, torch=False)
        return self._light

    @property
    def pid(self) -> int | None:
        """The process that forks; None while there is none."""
        return self._process.pid if self._process else None

    def fork(self, connection: socket.socket) -> None:
        """Have a new process serve the connection; return before it does."""
        control = self._control or self._start()
        try:
            socket.send_fds(control, [forkserver.FORK], [connection.fileno()])
        except OSError:  # it has died, and the event loop has not told yet
            self._lost()
            socket.send_fds(self._start(), [forkserver.FORK], [connection.fileno()])

    def kill(self, pid: int) -> None:
        """End a fork at once; one that has ended already is left alone."""
        with suppress(OSError):
            if self._control is None:  # nobody else is left to do it
                os.kill(pid, signal.SIGKILL)
            else:
                self._control.sendall(forkserver.KILL + forkserver.PID.pack(pid))

    def exit_code(self, pid: int) -> asyncio.Future[int]:
        """Get the future exit code of a fork, known when it has ended: -n if signal n ended it.

        It is cancelled if nobody is left who could tell.
        """
        return self._exit_codes.setdefault(pid, asyncio.get_running_loop().create_future())

    def close(self) -> None:
        """Start nothing more. Forks go on until their own connections are closed."""
        if self._light is not None:
            self._light.close()
        if self._process is not None:
            self._process.kill()
        self._lost()

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        # OpenBLAS would start threads on import, which a process that forks must not have.
        # Threads that wait for each other look for half a millisecond: to sleep between two operations takes longer
        # than most operations, and to look for long takes the processors from those that decode and answer.
        environment = {"GOMP_SPINCOUNT": "10000", **os.environ, "OPENBLAS_NUM_THREADS": "1"}
        if not has_temporary_folder():
            # Importing torch asks for a folder for compiled kernels. It only has to exist: nothing is compiled here.
            environment.setdefault("TORCHINDUCTOR_CACHE_DIR", "/")
        libraries = "torch" if self._torch else ""
        command = python_command("service.model_process.forkserver:main", [theirs], self._log_format, libraries)
        with theirs:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], env=environment
            )
        asyncio.get_running_loop().add_reader(ours.fileno(), self._read)
        self._control = ours
        return ours

    def _read(self) -> None:
        data = b""
        with suppress(OSError):
            data = self._control.recv(4096) if self._control else b""
        if not data:
            logger.warning("the process that starts models has ended; it is started again when it is needed")
            self._lost()
        *lines, self._text = (self._text + data).split(b"\n")
        for line in lines:
            pid, code = map(int, line.split())
            future = self.exit_code(pid)
            del self._exit_codes[pid]
            if not future.done():
                future.set_result(code)

    def _lost(self) -> None:
        if self._control is not None:
            asyncio.get_running_loop().remove_reader(self._control.fileno())
            self._control.close()
            self._control, self._text = None, b""
        if self._process is not None:
            self._process.wait()  # its end of the socket is closed: it is ending
            self._process = None
        for future in self._exit_codes.values():
            future.cancel()
        self._exit_codes.clear()
