"""Fork a process that has torch and the architectures imported, once for every model that is loaded.

A fork is there in milliseconds and shares the libraries' memory. This process starts no threads and touches no
device, so that its forks may. It ends when the process that started it does, however that ends, and so do the
forks: the kernel closes their sockets.

The standard library's `multiprocessing.forkserver` cannot take its place:

- It is started with the program's own environment; this process needs variables that the front must not have.
- It heeds SIGTERM and SIGHUP, so that models would end before the requests in flight are answered.
- Its children run the program's `__main__` again and unpickle what they are told; nothing is unpickled here.
- It preloads modules from its own path instead of the program's (Python 3.11 ignores the path that it is given), and
  passes over those that cannot be imported.
- There is one per program, where this one belongs to an application and ends with it.

On the control socket the front writes `F` with the socket of a new model process attached, `K` and a process id to be
killed, or `A` to ask whether this process is alive. It reads one line for each of these questions, the first as soon
as everything is imported, and one, "id status", for every fork that has ended.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import struct
import sys
from importlib.util import find_spec
from typing import NoReturn

from service.observability.logs import LogFormat, configure_logging
from service.processes.machine import freeze_garbage_collector

logger = logging.getLogger(__name__)

FORK, KILL, ASK = b"F", b"K", b"A"
ALIVE = b"alive"
PID = struct.Struct("<q")


def main(control: socket.socket, log_format: LogFormat = "auto", libraries: str = "torch") -> NoReturn:
    """Serve the control socket; exit when its other end is closed.

    Args:
        control: The socket.
        log_format: See `service.observability.logs`.
        libraries: Is "torch" where forks are to have it, if it is installed.
    """
    configure_logging(log_format)
    # The terminal's and the service manager's signals are for the front: it finishes what has begun first.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _preload(with_torch=libraries == "torch")

    freeze_garbage_collector()  # it would write to every page, and so copy it
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    os.set_blocking(woken, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker)
    try:
        control.sendall(ALIVE + b"\n")
        _serve(control, woken, waker)
    except ConnectionError:  # the front was killed while something was on its way
        os._exit(0)


def _preload(*, with_torch: bool) -> None:
    """Import what takes seconds, once."""
    import service.model_process.main

    if with_torch and find_spec("torch") and find_spec("timm"):
        import service.model_process.explain
        import service.model_process.runtimes.torch_model  # noqa: F401  forks find it loaded


def _serve(control: socket.socket, woken: int, waker: int) -> NoReturn:
    forks: set[int] = set()
    while True:
        readable, _, _ = select.select([control.fileno(), woken], [], [])
        if woken in readable:
            os.read(woken, 4096)
            _report_ended(control, forks)
        if control.fileno() in readable:
            command, sockets, _, _ = socket.recv_fds(control, 1, 1)
            if command == FORK:
                forks.add(_fork(control, sockets[0], (woken, waker)))
            elif command == KILL:
                (pid,) = PID.unpack(control.recv(PID.size, socket.MSG_WAITALL))
                if pid in forks:  # not reaped yet, so the id is still its own
                    os.kill(pid, signal.SIGKILL)
            elif command == ASK:
                control.sendall(ALIVE + b"\n")
            else:
                os._exit(0)


def _report_ended(control: socket.socket, forks: set[int]) -> None:
    for pid in list(forks):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            forks.remove(pid)
            control.sendall(f"{pid} {os.waitstatus_to_exitcode(status)}\n".encode())


def _fork(control: socket.socket, descriptor: int, wakers: tuple[int, int]) -> int:
    pid = os.fork()
    if pid:
        os.close(descriptor)
        return pid
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    control.close()
    for each in wakers:
        os.close(each)
    _work(descriptor)


def _work(descriptor: int) -> NoReturn:
    from service.model_process.main import work

    code = 1
    try:
        work(socket.socket(fileno=descriptor))
        code = 0
    except (BrokenPipeError, ConnectionResetError):
        code = 0  # the front is gone, or does not want this model any more
    except BaseException:
        logger.exception("a model process failed")
    finally:
        sys.stderr.flush()
        os._exit(code)  # never back into the loop of the process that was forked
