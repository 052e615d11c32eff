"""Find a model's graphs: in its folder, in the cache, or made now of its weights."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import logging
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ait_lite.checkpoint import WEIGHTS, atomic_folder, write_text
from ait_lite.runtimes import Answering, PreparedError, PreparedModel, is_prepared, read_prepared
from ait_lite.runtimes.prepared import sha256
from ait_lite.runtimes.processor import processor_features
from ait_lite.user_cache import MEMORY, cache_folders
from service.processes.machine import has_temporary_folder
from service.repository.folders import ModelFolder

if TYPE_CHECKING:
    from service.model_process.runtimes.torch_model import TorchModel

logger = logging.getLogger(__name__)

MOST_ENTRIES = 32  # of the cache; what was used longest ago goes first
MOST_IN_MEMORY = 8  # of one that lies there
_FAILED = "failed.txt"
_FAILURE, _FULL = 3, 4  # exit codes
_REMEDY: Final = "name one that can be written to with AIT_CACHE, or mount one (docker run --tmpfs /tmp)"


class NoGraph(Exception):
    """There is no graph of a model, and none can be made; the message says why."""


class Graphs:
    """The graphs of one model."""

    def __init__(
        self,
        folder: ModelFolder,
        torch_model: TorchModel | None,
        *,
        answering: Answering | None = None,
        cache: Path | None = None,
        apart: bool = False,
    ) -> None:
        """Prepare to look.

        Args:
            folder: Of the model.
            torch_model: What a graph is made of where there is none; None makes none.
            answering: What is made of logits.
            cache: Folder where graphs are kept; where it is None or cannot be written to, the user's cache, a private
                folder among temporary files, or one in memory is taken.
            apart: Whether a graph is made in a process of its own, which leaves no memory behind. This one must have
                run nothing in torch or in a runtime before.
        """
        self._folder, self._torch_model, self._answering = folder, torch_model, answering
        self._places = [*([cache] if cache else []), *cache_folders("graphs", memory=True)]
        self._apart = apart

    @contextmanager
    def prepared(self, *, int8: bool) -> Iterator[PreparedModel]:
        """Find or make the graphs; the files are there within the context, and as long as the cache keeps them.

        Args:
            int8: Whether a quantised graph is wanted.

        Raises:
            NoGraph: There are none.
        """
        found = self._in_the_folder()
        if found is None and self._torch_model is None:
            raise NoGraph(f"{self._folder.path} holds no graph, and without torch none can be made of its weights")
        yield found or self._kept(int8)

    def _kept(self, int8: bool) -> PreparedModel:
        """Find or make the graphs in the first place of the cache that can be written to."""
        weights = sha256(self._folder.path / WEIGHTS)
        key = self._key(weights, int8)
        refused = []
        for place in self._places:
            try:
                with _locked(place, key):
                    found = _read(place / key, weights) or self._make(place / key, weights, int8)
            except OSError as error:
                refused.append(f"{place}: {error.strerror or error}")
                continue
            if refused:
                logger.warning("graphs are kept in %s (%s); AIT_CACHE names another folder", place, "; ".join(refused))
            return found
        reason = f"there is no folder to make a graph in: {_REMEDY}"
        logger.warning(
            "%s cannot be served faster than in torch: %s (%s)", self._folder.path, reason, "; ".join(refused)
        )
        raise NoGraph(reason)

    def _in_the_folder(self) -> PreparedModel | None:
        path = self._folder.path
        if not is_prepared(path):
            return None
        try:
            return read_prepared(path)
        except PreparedError as error:
            if self._torch_model is None:
                raise NoGraph(str(error)) from error
            logger.warning("%s A graph is made of the weights instead.", error)
            return None

    def _key(self, weights: str, int8: bool) -> str:
        from ait.export.graph import library_versions

        told: list[Any] = [weights, self._folder.config, library_versions(), sorted(processor_features()), int8]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:32]

    def _make(self, entry: Path, weights: str, int8: bool) -> PreparedModel:
        from ait.export import ExportError
        from ait.export.graph import write_graphs

        failed = entry.with_suffix(".failed")
        if known := _noted(failed):
            raise NoGraph(known)
        assert self._torch_model is not None
        module = self._torch_model.module
        logger.info("a graph of %s is being made; %s keeps it for other starts", self._folder.path, entry.parent)
        with atomic_folder(entry) as new:

            def make() -> None:
                if self._apart and not has_temporary_folder():
                    tempfile.tempdir = str(new)  # quantising writes temporary files
                try:
                    write_graphs(module, new, self._folder.path, weights=weights, answering=self._answering, int8=int8)
                except ExportError as error:
                    (new / _FAILED).write_text(str(error))

            _in_a_fork(make) if self._apart else make()
            if (new / _FAILED).is_file():
                reason = (new / _FAILED).read_text()
                write_text(failed, reason)  # it would fail again, after as long
                _forget_old(entry.parent)
                raise NoGraph(reason)
        os.utime(entry)
        _forget_old(entry.parent)
        try:
            return read_prepared(entry, weights=weights)
        except PreparedError as error:
            raise NoGraph(str(error)) from error


def _read(entry: Path, weights: str) -> PreparedModel | None:
    if not is_prepared(entry):
        return None
    try:
        found = read_prepared(entry, weights=weights)
    except PreparedError as error:
        logger.warning("%s It is made anew.", error)
        return None
    with suppress(OSError):
        os.utime(entry)
    return found


def _noted(failed: Path) -> str:
    """Read why making a graph has failed before; empty if it has not, or the note is damaged."""
    try:
        return failed.read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        return ""


@contextmanager
def _locked(cache: Path, name: str) -> Iterator[None]:
    """Have others that want the same wait: processes of one server load a model at the same time."""
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = cache / f"{name}.lock"
    while True:
        with path.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:  # whoever held it before may have removed the file between its opening here and its locking
                if not os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    continue
            except FileNotFoundError:
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)  # while it is held, so that the file of a later holder is never removed
            return


def _forget_old(cache: Path) -> None:
    with suppress(OSError):
        entries = sorted(
            (each for each in cache.iterdir() if is_prepared(each)), key=lambda each: each.stat().st_mtime
        )
        for entry in entries[: -MOST_IN_MEMORY if cache.parent == MEMORY else -MOST_ENTRIES]:
            shutil.rmtree(entry, ignore_errors=True)
        failed = sorted(cache.glob("*.failed"), key=lambda each: each.stat().st_mtime)
        for each in failed[:-MOST_ENTRIES]:
            each.unlink(missing_ok=True)


def _in_a_fork(make: Callable[[], None]) -> None:
    """Do something in a child process, and wait for it.

    Raises:
        OSError: There was no room for what it wrote.
        NoGraph: The child ended otherwise than by being done.
    """
    pid = os.fork()
    if pid:
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code == _FULL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if code:
            raise NoGraph(f"the process that made the graph ended with exit code {code}; the cause is in the log")
        return
    code = _FAILURE
    try:
        _end_with_parent()
        _use_one_thread()
        make()
        code = 0
    except BaseException as error:
        if os.strerror(errno.ENOSPC) in str(error):  # safetensors says so in an error of its own
            code = _FULL
        else:
            logger.exception("a graph cannot be made")
    finally:
        os._exit(code)


def _use_one_thread() -> None:
    """Compute in this thread alone: those of the pool that loading a model has started are not in a fork."""
    import torch

    torch.set_num_threads(1)


def _end_with_parent() -> None:
    import ctypes

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
