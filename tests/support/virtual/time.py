"""An event loop whose time passes only while everything waits: tests of delays take none, and are exact."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop without a machine: it has no sockets, and its clock is moved by what is waited for."""

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_Selector(self))

    def time(self) -> float:
        """Return the virtual seconds since the loop was made."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass while nothing else is done, as when the processor is busy with something else."""
        self._now += seconds


class _Selector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("Everything waits, and nothing will ever happen.")
        self._loop.advance(timeout)
        return []


def run(work: Coroutine[Any, Any, T], loop: Callable[[], VirtualTimeLoop] = VirtualTimeLoop) -> T:
    """Run a coroutine in virtual time, on a loop that `loop` makes."""
    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(work)
