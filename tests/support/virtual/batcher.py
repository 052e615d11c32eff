"""A batcher in virtual time, and a model whose batches take a time that is known."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from service.batching.batcher import Batcher


@dataclass
class Model:
    """Answers -item after fixed + slope * items seconds; `parallel` batches at a time, whatever it is handed."""

    fixed: float = 0.01
    slope: float = 0.001
    batches: list[list[int]] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    broken: frozenset[int] = frozenset()
    parallel: int = 1

    def __post_init__(self) -> None:
        self._room = asyncio.Semaphore(self.parallel)

    async def __call__(self, items: list[int]) -> Sequence[int]:
        self.batches.append(items)
        self.starts.append(now())
        async with self._room:
            await asyncio.sleep(self.fixed + self.slope * len(items))
        if self.broken & set(items):
            raise ArithmeticError(items)
        return [-item for item in items]


def now() -> float:
    """The virtual seconds since the loop was made."""
    return asyncio.get_running_loop().time()


def batcher(model: Callable[[list[int]], Awaitable[Sequence[int]]], **options: Any) -> Batcher[int, int]:
    """A batcher of a model; options replace those that most tests share."""
    settings = {"max_batch": 8, "max_queue": 100, "max_delay": 0.05} | options
    return Batcher(model, clock=asyncio.get_running_loop().time, **settings)
