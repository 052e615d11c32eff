"""Keep a second run out of an output folder while one is at work in it."""

import fcntl
import json
import os
import socket
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from training.errors import OutputError

LOCK = "run.lock"


class RunLock:
    """Hold the output folder of a run for the time of a ``with`` block.

    The operating system holds the lock for the process and gives it up when the process ends, however it ends: a
    file that a kill left behind keeps nobody out. The file says who holds it. Processes that the holder forks, such as
    those that load its images, do not hold it: they outlive a killed holder for a moment.

    Args:
        folder: The output folder; it is created, and removed again if nothing was written into it.

    Raises:
        OutputError: On entering: another run holds the folder, or it cannot be written to.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / LOCK
        self._descriptor: int | None = None
        self._created: list[Path] = []

    def __enter__(self) -> "RunLock":
        try:
            self._created = [path for path in (self._folder, *self._folder.parents) if not path.exists()]
            self._folder.mkdir(parents=True, exist_ok=True)
            self._descriptor = self._acquire()
            os.register_at_fork(after_in_child=self._close)
        except OSError as error:
            self._remove_created()
            raise OutputError(
                f"output folder {self._folder} cannot be written to ({error.strerror}): change its permissions, or "
                "choose another with output=FOLDER"
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            # While the lock is held, so that the file of a later holder is never the one removed.
            with suppress(OSError):
                self._path.unlink()
            self._close()
        self._remove_created()

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _acquire(self) -> int:
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = _describe(os.pread(descriptor, 4096, 0))
                os.close(descriptor)
                raise OutputError(
                    f"output folder {self._folder} is in use by {holder}: wait for it or stop it, or choose another "
                    "with output=FOLDER"
                ) from None
            except OSError:
                os.close(descriptor)
                raise
            # The holder before may have removed the file between its opening here and its locking.
            if self._is_current(descriptor):
                break
            os.close(descriptor)
        us = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.now(UTC).isoformat("T", "seconds"),
        }
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(us).encode() + b"\n", 0)
        return descriptor

    def _is_current(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.stat())
        except FileNotFoundError:
            return False

    def _remove_created(self) -> None:
        with suppress(OSError):  # of the first that is not empty, and so none of its parents is
            for path in self._created:
                path.rmdir()


def _describe(content: bytes) -> str:
    try:
        holder = json.loads(content)
        return f"another run (process {holder['pid']} on {holder['host']}, since {holder['since']})"
    except (KeyError, TypeError, ValueError):  # being written just now
        return "another run"
