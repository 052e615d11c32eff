"""Collect the items of many requests into few full batches. Pure asyncio; knows nothing of HTTP or models.

Nothing polls: a batch starts because an item came, a batch ended, or a timer that this module set ran out.

- **Order.** Requests stand in a ring, and each gives one item in turn: a request of 64 items shares every batch
  with the requests of one item that came later, instead of holding them up.
- **Delay.** An idle model starts at once. Only where other requests have been coming while it was busy does it
  wait for more, and no longer than what a batch costs besides its items, which is what a fuller batch saves. Beside a
  batch that runs nothing waits: whoever fills the next one has work to do then, and would be late.
- **First the next batch, then the answers.** Where a batch has ended, the next one is handed over before the requests
  go on: what they do with their results takes as long as a batch.
- **Parallel, ahead.** Several batches may run at the same time; what waits is spread over those that can begin. Where
  all that may run do, one that is already full is handed over, to begin when one of them ends.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from service.batching.estimates import ArrivalRate, BatchCost
from service.errors import DeadlineExceeded, QueueFull, RequestTooLarge

Item = TypeVar("Item")
Result = TypeVar("Result")


class Closed(Exception):
    """No requests are taken any more."""


class Batcher(Generic[Item, Result]):
    """Collect the items of requests into batches and hand each request its own results.

    All methods are called on one event loop.

    Attributes:
        max_batch: Most items of a batch.
    """

    def __init__(
        self,
        run: Callable[[list[Item]], Awaitable[Sequence[Result]]],
        *,
        max_batch: int,
        max_queue: int,
        max_delay: float,
        piece: int = 1,
        parallel: int = 1,
        ahead: int = 0,
        observe: Callable[[int, list[float], float], None] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Prepare to run batches.

        Args:
            run: Answers a batch: one result an item, in order. If it raises, the requests that have an item in
                the batch fail with what it raised, and no others.
            max_batch: Most items of a batch.
            max_queue: Most items that wait; those of a running batch do not.
            max_delay: Seconds; most that an idle model waits for a fuller batch.
            piece: Items that `run` works on at once: a batch of more is made a multiple of it.
            parallel: Batches that `run` works on at the same time.
            ahead: Batches handed to `run` besides those; they begin, in order, when one of those ends.
            observe: Told of each batch: its size, the seconds that its items waited, the seconds it took.
            clock: Seconds, for measuring; deadlines and timers are the event loop's.
        """
        self._run = run
        self.max_batch, self._max_queue, self._max_delay = max_batch, max_queue, max_delay
        self._piece, self._parallel, self._ahead = piece, parallel, ahead
        self._observe, self._clock = observe, clock
        self._ring: OrderedDict[_Request[Item, Result], None] = OrderedDict()  # those with items that wait
        self._depth = 0
        self._running: dict[asyncio.Task[None], float | None] = {}  # when each began; None if it was handed ahead
        self._cost, self._load = BatchCost(), ArrivalRate()
        self._idle_since = -math.inf  # when the last batch ended, or the first item came after that
        self._dispatch_soon: asyncio.Handle | None = None
        self._closed = False
        self._context = contextvars.Context()  # a batch is of many requests: it logs as none of them
        self._drained = asyncio.Event()

    @property
    def depth(self) -> int:
        """Items that wait."""
        return self._depth

    @property
    def running(self) -> int:
        """Batches being answered."""
        return len(self._running)

    def check_room(self, items: int) -> None:
        """Raise what `submit` would raise now for a request of so many items: before work is put into it."""
        if self._closed:
            raise Closed("This queue takes no more requests.")
        if items > self._max_queue:
            raise RequestTooLarge(items, self._max_queue)
        if self._depth + items > self._max_queue:
            raise QueueFull(self._depth * self._cost.per_item / self._parallel)

    async def submit(self, items: Sequence[Item], *, deadline: float | None = None) -> list[Result]:
        """Answer items, in their order. Cancelling drops those that have not been started.

        Args:
            items: Any number up to `max_queue`.
            deadline: `loop.time()` after which nobody waits for the answer.

        Raises:
            Closed, RequestTooLarge, QueueFull, DeadlineExceeded: As named.
            Exception: Whatever `run` raised for a batch with one of the items.
        """
        self.check_room(len(items))
        if not items:
            return []
        loop = asyncio.get_running_loop()
        request: _Request[Item, Result] = _Request(items, loop.create_future(), self._clock())
        if deadline is not None and deadline <= loop.time():
            raise DeadlineExceeded
        self._enqueue(request)
        timer = None if deadline is None else loop.call_at(deadline, self._fail, request, DeadlineExceeded())
        try:
            return await request.future
        finally:
            if timer:
                timer.cancel()
            self._forget(request)

    def abort(self, error: Exception) -> None:
        """Fail the requests that wait; what runs goes on."""
        for request in list(self._ring):
            self._fail(request, error)

    async def close(self) -> None:
        """Take nothing more from here on; return when everything taken before has been answered."""
        self._closed = True
        self._dispatch()
        await self._drained.wait()

    def _enqueue(self, request: _Request[Item, Result]) -> None:
        if self._running or self._depth:
            self._load.add(request.came)
        else:
            self._idle_since = request.came
        self._ring[request] = None
        self._depth += len(request.items)
        self._wake()

    def _forget(self, request: _Request[Item, Result]) -> None:
        """Drop the items of a request that still wait."""
        if request in self._ring:
            del self._ring[request]
            self._depth -= request.waiting
            request.taken = len(request.items)
            self._check_drained()

    def _fail(self, request: _Request[Item, Result], error: BaseException) -> None:
        if not request.future.done():
            request.future.set_exception(error)
        self._forget(request)

    def _wake(self, delay: float = 0.0) -> None:
        """Dispatch on the loop's next round, when all that came in this one is there, or after a delay."""
        if self._dispatch_soon:
            self._dispatch_soon.cancel()
        loop = asyncio.get_running_loop()
        self._dispatch_soon = (
            loop.call_later(delay, self._dispatch, context=self._context)
            if delay
            else loop.call_soon(self._dispatch, context=self._context)
        )

    def _dispatch(self) -> None:
        self._begin_batches()
        self._check_drained()

    def _begin_batches(self) -> None:
        if self._dispatch_soon:
            self._dispatch_soon.cancel()
            self._dispatch_soon = None
        while self._depth and len(self._running) < self._parallel + self._ahead:
            busy = len(self._running) >= self._parallel
            if busy and self._depth < self.max_batch:
                return  # not full yet, and nothing stands still: the end of a running batch dispatches again
            if delay := self._delay():
                self._wake(delay)
                return
            idle = max(self._parallel - len(self._running), 1)
            size = min(self.max_batch, -(-self._depth // idle))
            if size > self._piece:
                size -= size % self._piece
            if batch := self._take(size):
                task = asyncio.get_running_loop().create_task(self._execute(batch))
                self._running[task] = None if busy else self._clock()

    def _delay(self) -> float:
        """Compute the seconds to wait for a fuller batch now that the model is idle."""
        if self._closed or self._running or self._depth >= self.max_batch:
            return 0.0
        patience = min(self._max_delay, self._cost.fixed)
        now = self._clock()
        rate = self._load.rate(now)
        if rate * patience < 1:  # nobody is expected to come
            return 0.0
        silence = max(self._idle_since, self._load.last) + 2 / rate  # those who come together have all come
        left = min(self._idle_since + patience, silence) - now
        return left if left > 5e-4 else 0.0  # event loops count milliseconds

    def _take(self, size: int) -> list[tuple[_Request[Item, Result], int]]:
        """Take the next batch, of at most `size` items: (request, index of its item), each request in turn."""
        batch: list[tuple[_Request[Item, Result], int]] = []
        while self._ring and len(batch) < size:
            request, _ = self._ring.popitem(last=False)
            if request.future.done():  # cancelled a moment ago
                self._depth -= request.waiting
                request.taken = len(request.items)
                continue
            batch.append((request, request.taken))
            self._depth -= 1
            request.taken += 1
            if request.waiting:
                self._ring[request] = None
        return batch

    async def _execute(self, batch: list[tuple[_Request[Item, Result], int]]) -> None:
        start = self._clock()
        try:
            results = await self._run([request.items[index] for request, index in batch])
            if len(results) != len(batch):
                raise RuntimeError(f"A batch of {len(batch)} items had {len(results)} results.")
        except Exception as error:
            for request, _ in batch:
                self._fail(request, error)
            end = self._ended(batch)
        except BaseException:  # the event loop stops
            for request, _ in batch:
                request.future.cancel()
            end = self._ended(batch)
            raise
        else:
            end = self._ended(batch)  # the next batch begins before these answers are written, which takes a while
            for (request, index), result in zip(batch, results, strict=True):
                request.answer(index, result)
        finally:
            if self._observe:
                self._observe(len(batch), [start - request.came for request, _ in batch], end - start)
            self._check_drained()

    def _ended(self, batch: list[tuple[_Request[Item, Result], int]]) -> float:
        """Learn from a batch, begin the next one, and return when the batch had ended."""
        self._idle_since = end = self._clock()
        self._cost.add(len(batch), end - self._end(asyncio.current_task(), end))
        self._begin_batches()
        return end

    def _end(self, task: asyncio.Task[None] | None, now: float) -> float:
        """Take a batch out of those that run, with which the next one begins; return when it had begun."""
        assert task is not None
        began = self._running.pop(task)
        following = next((each for each, begun in self._running.items() if begun is None), None)
        if following is not None:
            self._running[following] = now
        return now if began is None else began

    def _check_drained(self) -> None:
        if self._closed and not self._depth and not self._running:
            self._drained.set()


class _Request(Generic[Item, Result]):
    """A request and how far it has come; the first `taken` items are in batches or dropped."""

    __slots__ = ("came", "future", "items", "left", "results", "taken")

    def __init__(self, items: Sequence[Item], future: asyncio.Future[list[Result]], came: float) -> None:
        self.items, self.future, self.came = items, future, came
        self.results: list[Result | None] = [None] * len(items)
        self.taken = 0
        self.left = len(items)

    @property
    def waiting(self) -> int:
        return len(self.items) - self.taken

    def answer(self, index: int, result: Result) -> None:
        self.results[index] = result
        self.left -= 1
        if not self.left and not self.future.done():
            self.future.set_result(self.results)  # type: ignore[arg-type]
