"""Run a model's batches side by side on threads that share the processors."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, NoReturn, TypeVar

Item = TypeVar("Item")

MOST = 16  # each needs memory for a batch, and Python lets one of them at a time decide what to compute next


def streams_on(device: str, threads: int) -> int:
    """Choose how many batches are run side by side.

    On a processor's cores, batches on a thread each are faster than one on all of them: they do not wait for each
    other after every operation. An accelerator runs one after the other anyway.

    Args:
        device: Torch's name of it.
        threads: That may be busy at the same time.
    """
    return min(threads, MOST) if device == "cpu" else 1


class Streams(Generic[Item]):
    """Threads that work off items, a bounded number at the same time, begun in the order in which they came.

    What runs alone and is small has all processors, so that a lone image is answered as soon as can be; otherwise
    each has its share. Only the first stream ever has all: the threads that torch keeps for each stream wait awake
    only as long as there are no more of them than processors.
    """

    def __init__(
        self,
        work: Callable[[Item, int], None],
        threads: int,
        *,
        small: Callable[[Item], bool],
        alone: Callable[[Item], bool],
    ) -> None:
        """Prepare to work.

        Args:
            work: What is done with an item, on that many threads. It must not raise.
            threads: Of all items together.
            small: Whether an item is done before another one that comes meanwhile would miss the processors.
            alone: Whether nothing else may be worked on meanwhile.
        """
        self._work, self._threads, self._small, self._alone = work, threads, small, alone
        self._items: deque[Item] = deque()
        self._lock = threading.Lock()
        self._changed: list[threading.Condition] = []  # one a stream: only that is woken which has something to do
        self._busy: set[int] = set()  # streams
        self._blocked = False  # by one that runs alone
        self._count = 1

    def put(self, item: Item) -> None:
        """Add an item, on any thread."""
        with self._lock:
            self._items.append(item)
            self._wake()

    def run(self, count: int) -> NoReturn:
        """Work in `count` streams, of which this thread is the first, for as long as the process lasts."""
        self._count, self._changed = count, [threading.Condition(self._lock) for _ in range(count)]
        for number in range(1, count):
            threading.Thread(target=self._stream, args=(number,), name=f"stream-{number}", daemon=True).start()
        self._stream(0)

    def _stream(self, number: int) -> NoReturn:
        while True:
            with self._lock:
                self._changed[number].wait_for(lambda: self._may_begin(number))
                item = self._items.popleft()
                self._busy.add(number)
                self._blocked = self._alone(item)
                self._wake()
                lone = number == 0 and len(self._busy) == 1 and not self._items and self._small(item)
            self._work(item, self._threads if lone else max(self._threads // self._count, 1))
            with self._lock:
                self._busy.discard(number)
                self._blocked = False
                self._wake()

    def _wake(self) -> None:
        """Wake the first stream that may begin; it wakes the next one when it has begun."""
        for number, changed in enumerate(self._changed):
            if number not in self._busy and self._may_begin(number):
                changed.notify()
                return

    def _may_begin(self, number: int) -> bool:
        if not self._items or self._blocked or (number and 0 not in self._busy):
            return False
        return not self._busy or not self._alone(self._items[0])
