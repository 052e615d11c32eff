"""Programs in processes of their own that find the trainer imported, which takes longer than a small run."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from types import TracebackType


@cache
def forking_context() -> ForkServerContext:
    """Prepare the one process of these tests that has everything imported; it starts with the first fork."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["training.run.trainer", "ait_cli.train", "torch._dynamo"])
    return context


class ForkedProgram:
    """``python -m MODULE ARGUMENTS``, with one thread, but for the imports, which have been made.

    The process is a fork of one that has computed nothing and has no threads. What it writes goes to files.

    Args:
        module: What to run.
        arguments: After its name.
        environment: Variables to set for it, besides those of the tests.
        prepare: Called in the process before the program; a function of a module.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        prepare: Callable[[], None] | None = None,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="ait-forked-")
        self._args = ["python", "-m", module, *arguments]
        self._ended, self._alive = forking_context().Pipe(duplex=False)
        told = {**os.environ, **(environment or {})}
        self._process: ForkServerProcess = forking_context().Process(
            target=_run, args=(module, list(arguments), told, self._folder.name, self._alive, prepare)
        )

    def __enter__(self) -> ForkedProgram:
        self._process.start()
        self._alive.close()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.join()
        self._process.close()
        self._ended.close()
        self._folder.cleanup()

    def wait(self) -> subprocess.CompletedProcess[str]:
        """Wait until it has ended, and what it has started too; return what it said, and its exit code.

        The code is -n if signal n ended it.
        """
        with suppress(EOFError):  # it comes when nobody is left who holds the other end
            self._ended.recv()
        self._process.join()
        out, err = ((Path(self._folder.name) / name).read_text() for name in ("stdout", "stderr"))
        assert self._process.exitcode is not None
        return subprocess.CompletedProcess(self._args, self._process.exitcode, out, err)


def run_forked(
    module: str,
    arguments: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    prepare: Callable[[], None] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program as `ForkedProgram` does, until it ends."""
    with ForkedProgram(module, arguments, environment, prepare) as program:
        return program.wait()


def _run(
    module: str,
    arguments: list[str],
    environment: dict[str, str],
    folder: str,
    _alive: Connection,  # is open for as long as this process and those that it forks live
    prepare: Callable[[], None] | None,
) -> None:
    """Be the program."""
    import torch

    from training.run import trainer

    for number, name in ((1, "stdout"), (2, "stderr")):
        file = os.open(Path(folder) / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(1)
    trainer.fastest_products = lambda *_: nullcontext()  # two runs that are compared multiply in one library
    multiprocessing.set_start_method(None, force=True)  # as in any program; here it is that of this process itself
    sys.argv = [module, *arguments]
    if prepare is not None:
        prepare()
    runpy.run_module(module, run_name="__main__", alter_sys=True)
