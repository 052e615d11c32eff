"""Answer questions of many requests to a memory at once: to search for several costs little more than for one.

Those that take long are answered on a thread, so that nothing else waits; all others at once, because the way there
and back, and two threads that take turns at the interpreter, cost more than the answers.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from service.batching.batcher import Batcher
from service.batching.estimates import BatchCost
from service.errors import DeadlineExceeded, MemoryConflict, MemoryInvalid, QueueFull, ServiceError
from service.memories.answering.index import State, WouldWait, keys_of
from service.memories.answering.reading import Answer, Reading
from service.memories.records import Binding
from service.memories.results import Recalled
from service.observability.events import Observer

MOST_QUESTIONS: Final = 32  # that are answered together
_MOST_KEYS: Final = 64  # that are compared with all examples at once, which takes memory
_BRIEF: Final = 4e-3  # seconds that answers may keep the event loop


@dataclass(frozen=True)
class Question:
    """What one request asks of a memory.

    Attributes:
        vectors: Feature vectors of its images, shape (n, d).
        binding: The model that they are of.
        evidence: Examples to name.
        top_k: Labels to name.
        revision: The least one that must answer; None is any.
    """

    vectors: np.ndarray
    binding: Binding
    evidence: int
    top_k: int
    revision: int | None


class Hold(Protocol):
    """Hold the newest state of a memory, as `MemoryAccess.state` does."""

    def __call__(self, name: str, revision: int | None = None, *, wait: bool = True) -> AbstractContextManager[State]:
        """Hold it; this blocks if it may wait."""


class Questions:
    """The questions to one memory. Those that come while others are being answered are answered together.

    All images of a question are answered at the same revision.
    """

    def __init__(
        self,
        name: str,
        hold: Hold,
        run: Callable[[Callable[[], list[Recalled | ServiceError]]], Awaitable[list[Recalled | ServiceError]]],
        *,
        max_queue: int,
        max_delay: float,
        observer: Observer,
        clock: Callable[[], float] = time.thread_time,
    ) -> None:
        """Make a queue.

        Args:
            name: Of the memory.
            hold: Gives its state.
            run: Runs a function on a thread.
            max_queue: Most questions that wait.
            max_delay: Seconds; most that is waited for more under load. Never for a question that is alone.
            observer: Is told of batches and of what is turned away.
            clock: Seconds of processor time, for judging how long answers take.
        """
        self._name, self._hold, self._run = name, hold, run
        self._observer, self._clock = observer, clock
        self._cost, self._cost_of = BatchCost(), weakref.WeakSet[Reading]()  # the one that answers, as it is
        self._model = ""  # whose name what happens is told by: names of memories are clients' to choose
        self._batcher: Batcher[Question, Recalled | ServiceError] = Batcher(
            self._answer,
            max_batch=MOST_QUESTIONS,
            max_queue=max_queue,
            max_delay=max_delay,
            observe=self._observe,
        )

    def check_room(self) -> None:
        """Check that a question would be taken now, before work is put into it.

        Raises:
            QueueFull: Too many wait.
        """
        try:
            self._batcher.check_room(1)
        except QueueFull as error:
            self._count(error)
            raise

    async def ask(self, question: Question, deadline: float) -> Recalled:
        """Ask.

        Raises:
            ServiceError: The memory is not there or has been bound to another model, the revision is not reached, the
                model sees nothing in an image, too many wait, or the deadline has passed.
        """
        self._model = question.binding.model
        try:
            (answer,) = await self._batcher.submit([question], deadline=deadline)
        except (QueueFull, DeadlineExceeded) as error:
            self._count(error)
            raise
        if isinstance(answer, ServiceError):
            raise answer
        return answer

    def _count(self, error: QueueFull | DeadlineExceeded) -> None:
        self._observer.rejected(self._model, "", error.reason)

    def _observe(self, size: int, waits: Sequence[float], seconds: float) -> None:
        self._observer.batch(self._model, "", "recall", size, waits, seconds)

    async def _answer(self, questions: list[Question]) -> list[Recalled | ServiceError]:
        if 0 < self._cost.seconds(sum(len(each.vectors) for each in questions)) <= _BRIEF:
            with suppress(WouldWait):
                return self._answers(questions, wait=False)
        return await self._run(lambda: self._answers(questions))

    def _answers(self, questions: list[Question], *, wait: bool = True) -> list[Recalled | ServiceError]:
        alike: dict[tuple[int | None, int, int, Binding], list[int]] = {}
        for place, each in enumerate(questions):
            alike.setdefault((each.revision, each.evidence, each.top_k, each.binding), []).append(place)
        answers: dict[int, Recalled | ServiceError] = {}
        for places in alike.values():
            answers.update(zip(places, self._together([questions[place] for place in places], wait), strict=True))
        return [answers[place] for place in range(len(questions))]

    def _together(self, questions: Sequence[Question], wait: bool) -> Sequence[Recalled | ServiceError]:
        """Answer questions that differ in their images alone.

        Raises:
            WouldWait: It may not wait, and would, or might take longer than it did.
        """
        try:
            keys = keys_of(np.concatenate([each.vectors for each in questions]), questions[0].binding)
        except MemoryInvalid:
            faults = [_fault(each) for each in questions]
            sound = [each for each, fault in zip(questions, faults, strict=True) if fault is None]
            answers = iter(self._together(sound, wait) if sound else ())
            return [next(answers) if fault is None else fault for fault in faults]
        try:
            return self._recall(questions, keys, wait)
        except ServiceError as error:
            return [error] * len(questions)

    def _recall(self, questions: Sequence[Question], keys: np.ndarray, wait: bool) -> list[Recalled]:
        """Answer questions, by the integer keys of all their images."""
        first = questions[0]
        with self._hold(self._name, first.revision, wait=wait) as state:
            known = state.reading in self._cost_of
            if not wait and not (known and state.content.is_settled(len(keys))):  # there is more to compute, once
                raise WouldWait
            began, cost = time.perf_counter(), self._clock()
            if state.memory.binding != first.binding:
                raise MemoryConflict(f"Memory {self._name!r} has been bound to another model meanwhile. Ask again.")
            answers: list[Answer] = []
            for start in range(0, len(keys), _MOST_KEYS):
                part = keys[start : start + _MOST_KEYS]
                answers += state.reading.answers(part, evidence=first.evidence, top_k=first.top_k)
            seconds = time.perf_counter() - began
            if known:
                self._cost.add(len(keys), self._clock() - cost)
            else:
                self._cost, self._cost_of = BatchCost(), weakref.WeakSet([state.reading])
            recalled, start = [], 0
            for each in questions:
                own = answers[start : start + len(each.vectors)]
                start += len(own)
                named = (seen.id for answer in own for seen in answer.evidence)
                recalled.append(
                    Recalled(
                        state.memory, state.reading.calibrated, own, frozenset(filter(state.is_shown, named)), seconds
                    )
                )
            return recalled


def _fault(question: Question) -> MemoryInvalid | None:
    """Return what is wrong with the images of a question, None if nothing is."""
    try:
        keys_of(question.vectors, question.binding)
    except MemoryInvalid as error:
        return error
    return None
