"""Answer questions of many requests to a memory at once: to search for several costs little more than for one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from service.batching.batcher import Batcher
from service.errors import MemoryConflict, MemoryInvalid, ServiceError
from service.memories.answering.index import State, keys_of
from service.memories.answering.reading import Answer
from service.memories.records import Binding
from service.memories.results import Recalled

MOST_QUESTIONS: Final = 64  # that are answered together
_MOST_KEYS: Final = 64  # that are compared with all examples at once, which takes memory


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

    def __call__(self, name: str, revision: int | None = None) -> AbstractContextManager[State]:
        """Hold it; this blocks."""


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
    ) -> None:
        """Make a queue.

        Args:
            name: Of the memory.
            hold: Gives its state.
            run: Runs a function on a thread.
            max_queue: Most questions that wait.
            max_delay: Seconds; most that is waited for more under load. Never for a question that is alone.
        """
        self._name, self._hold = name, hold
        self._batcher: Batcher[Question, Recalled | ServiceError] = Batcher(
            lambda questions: run(lambda: self._answer(questions)),
            max_batch=MOST_QUESTIONS,
            max_queue=max_queue,
            max_delay=max_delay,
        )

    async def ask(self, question: Question, deadline: float) -> Recalled:
        """Ask.

        Raises:
            ServiceError: The memory is not there or has been bound to another model, the revision is not reached, the
                model sees nothing in an image, too many wait, or the deadline has passed.
        """
        (answer,) = await self._batcher.submit([question], deadline=deadline)
        if isinstance(answer, ServiceError):
            raise answer
        return answer

    def _answer(self, questions: list[Question]) -> list[Recalled | ServiceError]:
        answers: dict[int, Recalled | ServiceError] = {}
        alike: dict[tuple[int | None, int, int, Binding], list[int]] = {}
        for place, each in enumerate(questions):
            alike.setdefault((each.revision, each.evidence, each.top_k, each.binding), []).append(place)
        for places in alike.values():
            answers.update(zip(places, self._together([questions[each] for each in places]), strict=True))
        return [answers[place] for place in range(len(questions))]

    def _together(self, questions: Sequence[Question]) -> Sequence[Recalled | ServiceError]:
        """Answer questions that differ in their images alone."""
        first = questions[0]
        try:
            return self._recalled(
                questions, keys_of(np.concatenate([each.vectors for each in questions]), first.binding)
            )
        except MemoryInvalid as error:  # an image of somebody's is to blame
            if len(questions) == 1:
                return [error]
            return [answer for each in questions for answer in self._together([each])]
        except ServiceError as error:
            return [error] * len(questions)

    def _recalled(self, questions: Sequence[Question], keys: np.ndarray) -> list[Recalled]:
        first = questions[0]
        with self._hold(self._name, first.revision) as state:
            if state.memory.binding != first.binding:
                raise MemoryConflict(f"Memory {self._name!r} has been bound to another model meanwhile. Ask again.")
            answers: list[Answer] = []
            for start in range(0, len(keys), _MOST_KEYS):
                part = keys[start : start + _MOST_KEYS]
                answers += state.reading.answers(part, evidence=first.evidence, top_k=first.top_k)
            each_own, start = [], 0
            for each in questions:
                own = answers[start : start + len(each.vectors)]
                start += len(own)
                named = {seen.id for answer in own for seen in answer.evidence}
                shown = frozenset(each for each in named if state.is_shown(each))
                each_own.append(Recalled(state.memory, state.reading.calibrated, own, shown))
            return each_own
