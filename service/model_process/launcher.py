"""Start model processes: the front's end of `service.model_process.forkserver`."""

from __future__ import annotations

import asyncio
import contextvars
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

# A process hangs if it leaves so many questions unanswered, one after the other: where everything was stopped for a
# while, this one included, only one is.
QUESTIONS = 4


class Launcher:
    """Have processes forked from one that has all libraries imported.

    That one is started when it is first needed, and again if it has died or leaves questions unanswered.
    """

    def __init__(
        self,
        log_format: LogFormat = "auto",
        *,
        torch: bool = True,
        start_seconds: float = 300.0,
        hung_seconds: float = 10.0,
    ) -> None:
        """Prepare to start processes.

        Args:
            log_format: Of their logs: see `service.observability.logs`.
            torch: Whether they have torch imported, where it is installed; it takes seconds, and much memory.
            start_seconds: Time that the process which forks may take to import everything.
            hung_seconds: Time without an answer after which it is killed.
        """
        self._log_format = log_format
        self._torch = torch
        self._start_seconds, self._hung_seconds = start_seconds, hung_seconds
        self._light: Launcher | None = None
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._answered = asyncio.Event()
        self._text = b""
        self._exit_codes: dict[int, asyncio.Future[int]] = {}
        self._ending: set[int] = set()  # forks that are to be killed
        self._orphans: set[int] = set()  # forks of one that has ended: nobody says when they end

    @property
    def light(self) -> Launcher:
        """One that starts processes without torch; it is closed with this one."""
        if self._light is None:
            self._light = Launcher(
                self._log_format,
                torch=False,
                start_seconds=self._start_seconds,
                hung_seconds=self._hung_seconds,
            )
        return self._light

    @property
    def pid(self) -> int | None:
        """The process that forks; None while there is none."""
        return self._process.pid if self._process else None

    @property
    def pids(self) -> list[int]:
        """The processes that fork, its own and that of `light`, as far as there are any."""
        return [each.pid for each in (self, self._light) if each is not None and each.pid is not None]

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
            if pid in self._orphans:  # nobody else is left to do it
                self._orphans.remove(pid)
                os.kill(pid, signal.SIGKILL)
            elif self._control is not None:
                self._control.sendall(forkserver.KILL + forkserver.PID.pack(pid))
                self._ending.add(pid)

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
        loop = asyncio.get_running_loop()
        loop.add_reader(ours.fileno(), self._read)
        self._control, self._answered = ours, asyncio.Event()
        # It outlives the request that had a model loaded, and must not log as that request.
        self._watching = loop.create_task(self._watch(ours, self._process), context=contextvars.Context())
        return ours

    async def _watch(self, control: socket.socket, process: subprocess.Popen[bytes]) -> None:
        """End a process that takes questions and does not answer them; what it had to do is done without it."""
        silent = not await self._hear(self._start_seconds)  # it says by itself that it has started
        given, unanswered = self._hung_seconds / QUESTIONS, 0
        while not silent:
            self._answered.clear()
            try:
                control.sendall(forkserver.ASK)
            except OSError:
                return  # it has died, and the event loop is about to tell
            if await self._hear(given):
                unanswered = 0
                await asyncio.sleep(given)
            else:
                unanswered += 1
                silent = unanswered == QUESTIONS
        logger.error("the process that starts models does not answer and is killed; it is started again when needed")
        process.kill()
        self._lost()

    async def _hear(self, seconds: float) -> bool:
        """Wait for the answer to the last question: True if it came in time."""
        try:
            async with asyncio.timeout(seconds):
                await self._answered.wait()
        except TimeoutError:
            return False
        return True

    def _read(self) -> None:
        data = b""
        with suppress(OSError):
            data = self._control.recv(4096) if self._control else b""
        if not data:
            logger.warning("the process that starts models has ended; it is started again when it is needed")
            self._lost()
        *lines, self._text = (self._text + data).split(b"\n")
        for line in lines:
            if line == forkserver.ALIVE:
                self._answered.set()
                continue
            pid, code = map(int, line.split())
            future = self.exit_code(pid)
            del self._exit_codes[pid]
            self._ending.discard(pid)
            if not future.done():
                future.set_result(code)

    def _lost(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None
        if self._control is not None:
            asyncio.get_running_loop().remove_reader(self._control.fileno())
            self._control.close()
            self._control, self._text = None, b""
        if self._process is not None:
            self._process.wait()  # its end of the socket is closed: it is ending
            self._process = None
        for future in self._exit_codes.values():
            future.cancel()
        self._orphans |= self._exit_codes.keys()
        self._exit_codes.clear()
        for pid in self._ending.copy():
            self.kill(pid)
        self._ending.clear()
