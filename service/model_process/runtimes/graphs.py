"""Find a model's graphs: in its folder, in the cache, or made now of its weights."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ait_lite.checkpoint import WEIGHTS, atomic_folder
from ait_lite.runtimes import PreparedError, PreparedModel, is_prepared, read_prepared
from ait_lite.runtimes.prepared import sha256
from ait_lite.runtimes.processor import processor_features
from ait_lite.user_cache import cache_folders
from service.repository.folders import ModelFolder

if TYPE_CHECKING:
    from service.model_process.runtimes.torch_model import TorchModel

logger = logging.getLogger(__name__)

MOST_ENTRIES = 32  # of the cache; what was used longest ago goes first
_FAILED = "failed.txt"
_FAILURE = 3  # exit code


class NoGraph(Exception):
    """There is no graph of a model, and none can be made; the message says why."""


def cache_folder(setting: str | None = None) -> Path:
    """Name the folder of the cache.

    Args:
        setting: AIT_CACHE; None is where the operating system has caches.
    """
    if setting:
        return Path(setting).expanduser()
    return next(iter(cache_folders("graphs")), Path("/nonexistent"))  # what cannot be written is told and left


class Graphs:
    """The graphs of one model."""

    def __init__(
        self,
        folder: ModelFolder,
        torch_model: TorchModel | None,
        *,
        temperature: float | None = None,
        cache: Path | None = None,
        apart: bool = False,
    ) -> None:
        """Prepare to look.

        Args:
            folder: Of the model.
            torch_model: What a graph is made of where there is none; None makes none.
            temperature: Of the checkpoint.
            cache: See `cache_folder`.
            apart: Whether a graph is made in a process of its own, which leaves no memory behind. This one must have
                run nothing in torch or in a runtime before.
        """
        self._folder, self._torch_model, self._temperature = folder, torch_model, temperature
        self._cache, self._apart = cache or cache_folder(), apart

    @contextmanager
    def prepared(self, *, int8: bool) -> Iterator[PreparedModel]:
        """Find or make the graphs; the files are there within the context.

        Args:
            int8: Whether a quantised graph is wanted.

        Raises:
            NoGraph: There are none.
        """
        found = self._in_the_folder()
        if found is None and self._torch_model is None:
            raise NoGraph(f"{self._folder.path} holds no graph, and without torch none can be made of its weights")
        if found is not None:
            yield found
            return
        with ExitStack() as stack:
            weights = sha256(self._folder.path / WEIGHTS)
            entry = self._cache / self._key(weights, int8)
            try:
                with _locked(self._cache, entry.name):
                    found = _read(entry, weights) or self._make(entry, weights, int8)
            except OSError as error:
                logger.warning("graphs cannot be kept in %s (%s); they are made at every start", self._cache, error)
                try:
                    temporary = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                    found = self._make(temporary / "graphs", weights, int8)
                except OSError as nowhere:
                    raise NoGraph(f"there is no folder to make a graph in ({nowhere})") from nowhere
            yield found

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
        if failed.is_file():
            raise NoGraph(failed.read_text())
        assert self._torch_model is not None
        module = self._torch_model.module
        logger.info("a graph of %s is being made; %s keeps it for other starts", self._folder.path, entry.parent)
        with atomic_folder(entry) as new:

            def make() -> None:
                try:
                    write_graphs(
                        module, new, self._folder.path, weights=weights, temperature=self._temperature, int8=int8
                    )
                except ExportError as error:
                    (new / _FAILED).write_text(str(error))

            _in_a_fork(make) if self._apart else make()
            if (new / _FAILED).is_file():
                reason = (new / _FAILED).read_text()
                failed.write_text(reason)  # it would fail again, after as long
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


@contextmanager
def _locked(cache: Path, name: str) -> Iterator[None]:
    """Have others that want the same wait: processes of one server load a model at the same time."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _forget_old(cache: Path) -> None:
    with suppress(OSError):
        entries = sorted(
            (each for each in cache.iterdir() if is_prepared(each)), key=lambda each: each.stat().st_mtime
        )
        for entry in entries[:-MOST_ENTRIES]:
            shutil.rmtree(entry, ignore_errors=True)
            entry.with_suffix(".lock").unlink(missing_ok=True)


def _in_a_fork(make: Callable[[], None]) -> None:
    """Do something in a child process, and wait for it.

    Raises:
        NoGraph: The child ended otherwise than by being done.
    """
    pid = os.fork()
    if pid:
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code:
            raise NoGraph(f"the process that made the graph ended with exit code {code}; the cause is in the log")
        return
    code = _FAILURE
    try:
        _end_with_parent()
        _use_one_thread()
        make()
        code = 0
    except BaseException:
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
