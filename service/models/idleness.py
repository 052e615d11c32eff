"""Know when a server has loaded its models and nobody waits for it: then it can do what would disturb both."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

IDLE_SECONDS: Final = 3.0  # without a batch and without a model being loaded, after which a server is idle


class Idleness:
    """Whether the models of a server process, all of them together, have nothing to do.

    A model that is being loaded is measured, to choose what it runs in: whatever else works then falsifies that.
    """

    def __init__(self) -> None:
        """Begin as a process that has not loaded anything yet, which is not idle."""
        self._loading = 0
        self._since = math.inf  # of the event loop's clock: nothing has been done after that
        self._others_idle: Callable[[], Awaitable[bool]] | None = None

    @property
    def here(self) -> bool:
        """True while this process is idle."""
        return not self._loading and asyncio.get_running_loop().time() - self._since >= IDLE_SECONDS

    def ask_others(self, idle: Callable[[], Awaitable[bool]]) -> None:
        """Take into account whether the other processes of the server are idle, which `idle` finds out."""
        self._others_idle = idle

    def disturb(self) -> None:
        """Note that a batch is run."""
        self._since = asyncio.get_running_loop().time()

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Note that within this context models are loaded; contexts may overlap."""
        self._loading += 1
        try:
            yield
        finally:
            self._loading -= 1
            self.disturb()

    async def wait(self) -> None:
        """Wait until all processes of the server are idle."""
        while not (self.here and (self._others_idle is None or await self._others_idle())):  # noqa: ASYNC110
            await asyncio.sleep(IDLE_SECONDS / 2)  # other processes tell nobody when they become idle
