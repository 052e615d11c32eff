"""Run several server processes behind one port: start them, replace what dies or hangs, stop all of them cleanly.

They accept from one listening socket, so that none of its connections waits for a process that is not there. One
that is started again takes connections only when its models are loaded, as long as another one takes them.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from service.processes.child_process import python_command, signal_child
from service.processes.machine import available_processors
from service.processes.peers import Contact, PeerAddress, contact
from service.processes.restart import keep_running
from service.server.listener import refuse_new
from service.server.shared_folder import NoFolder, shared_folder
from service.settings import Settings

logger = logging.getLogger(__name__)

END_SECONDS = 15.0  # beyond the time that requests in flight get, to end the models too
# A process hangs if it leaves so many questions unanswered, one after the other: where everything was stopped for a
# while, this one included, only one is.
QUESTIONS = 4


def supervise(settings: Settings, listener: socket.socket, announce: Callable[[str], None]) -> int:
    """Serve with `settings.workers` processes until SIGTERM or SIGINT.

    Args:
        settings: Of each, except that the processors are shared.
        listener: Closed in the end.
        announce: Called with the names of the models when all processes answer.

    Returns:
        Exit code: 0 all have answered what was in flight and ended, 1 one had to be killed or they have no folder to
        share, or else that with which the first process failed.
    """
    try:
        with shared_folder() as folder:
            return asyncio.run(Supervisor(share(settings), listener, announce, folder).run())
    except NoFolder as error:
        print(error, file=sys.stderr, flush=True)
        return 1


def share(settings: Settings) -> Settings:
    """Make the settings of one process, so that the threads of all together are as many as those of one would be."""
    processors = max(1, available_processors() // settings.workers)
    return settings.model_copy(
        update={
            "torch_threads": settings.torch_threads or processors,
            "decode_threads": settings.decode_threads or min(processors, 8),
        }
    )


class Supervisor:
    """The processes of a server."""

    def __init__(
        self, settings: Settings, listener: socket.socket, announce: Callable[[str], None], folder: Path
    ) -> None:
        """Prepare processes that share `folder`, which has a folder `metrics`."""
        self._settings, self._listener, self._announce, self._folder = settings, listener, announce, folder
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._taking: set[int] = set()  # those that take connections, or will without waiting for their models
        self._settled: set[int] = set()  # those that have been ready, or have ended, at least once
        self._model = ""  # that answers by default
        self._first = asyncio.Event()
        self._stopping = asyncio.Event()
        self._code = 0

    async def run(self) -> int:
        """Serve; return the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as `service.server.run`: what it means is no reason to stop
        await asyncio.gather(*(self._keep(number) for number in range(self._settings.workers)))
        return self._code

    async def _keep(self, number: int) -> None:
        """Have a process run until the server stops."""
        if number:
            await self._first.wait()  # one has the processors for itself until it answers, or says what is wrong
        if not self._stopping.is_set():
            await keep_running(lambda: self._live(number), self._stopping)

    async def _live(self, number: int) -> float | None:
        """Run a process once; None if it is not to be started again, else the seconds that it has lived."""
        began = time.monotonic()
        try:
            code = await self._run(number)
        except OSError as error:
            logger.error("server process %d cannot be started: %s", number, error)
            code = 1
        self._settle(number)
        if self._stopping.is_set():
            self._code = self._code or (0 if code in (0, -signal.SIGTERM) else 1)
            return None
        if code > 0 and not self._model:
            self._code = code
            self._stop()
            return None
        logger.error("server process %d %s; it is started again", number, _how(code))
        return time.monotonic() - began

    async def _run(self, number: int) -> int:
        """Start a process and wait for its end; return its exit code, -n if signal n ended it."""
        load_first = bool(self._taking - {number})
        if not load_first:
            self._taking.add(number)
        ours, theirs = socket.socketpair()
        sockets = [theirs, self._listener]
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *python_command("service.server.worker:main", sockets),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=[each.fileno() for each in sockets],
                env=os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(self._folder / "metrics")},
            )
        self._processes[number] = process
        watching = asyncio.create_task(self._watch(number, process))
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        try:
            writer.write(self._order(number, load_first))
            if self._stopping.is_set():  # while it was being started
                signal_child(process, signal.SIGTERM)
            while line := await reader.readline():
                self._ready(number, json.loads(line)["serving"])
        except ConnectionError:
            pass  # it is ending
        finally:
            code = await process.wait()
            watching.cancel()
            writer.close()
            del self._processes[number]
            self._taking.discard(number)
        return code

    async def _watch(self, number: int, process: asyncio.subprocess.Process) -> None:
        """End a process that takes questions and does not answer them."""
        address = PeerAddress(self._folder, number, self._settings.workers)
        seconds = self._settings.hung_seconds / QUESTIONS
        unanswered = 0
        while unanswered < QUESTIONS:
            if await contact(address, seconds) is Contact.SILENT:
                unanswered += 1
            else:  # it answers, or does not listen yet or any more
                unanswered = 0
                await asyncio.sleep(seconds)
        logger.error("server process %d has not answered for %g s and is killed", number, self._settings.hung_seconds)
        signal_child(process, signal.SIGKILL)

    def _order(self, number: int, load_first: bool) -> bytes:
        order = {
            "settings": self._settings.model_dump(),
            "folder": str(self._folder),
            "number": number,
            "count": self._settings.workers,
            "load_first": load_first,
        }
        return json.dumps(order).encode() + b"\n"

    def _ready(self, number: int, model: str) -> None:
        self._taking.add(number)
        self._model = model
        self._first.set()
        self._settle(number)

    def _settle(self, number: int) -> None:
        if number not in self._settled:
            self._settled.add(number)
            if len(self._settled) == self._settings.workers and self._model and not self._stopping.is_set():
                self._announce(self._model)

    def _stop(self) -> None:
        """Have all processes end; the second time, at once."""
        if self._stopping.is_set():
            self._kill()
            return
        self._stopping.set()
        self._first.set()
        refuse_new(self._listener)
        self._listener.close()  # or new connections would wait for nobody
        for process in self._processes.values():
            signal_child(process, signal.SIGTERM)
            signal_child(process, signal.SIGCONT)  # one that is stopped would not hear of it
        seconds = self._settings.shutdown_seconds + END_SECONDS
        asyncio.get_running_loop().call_later(seconds, self._kill)

    def _kill(self) -> None:
        for number, process in self._processes.items():
            logger.error("server process %d has not ended and is killed", number)
            signal_child(process, signal.SIGKILL)


def _how(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
