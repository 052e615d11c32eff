"""Questions to a memory are answered together, and each as if it were alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from service.errors import DeadlineExceeded, MemoryConflict, MemoryInvalid, QueueFull, RevisionNotReached, ServiceError
from service.memories.answering.index import State, WouldWait, keys_of, pack
from service.memories.answering.questions import Question, Questions
from service.memories.records import Binding, Memory, Options, Row
from service.memories.results import Recalled
from service.observability.events import Observer

DIM = 8
BINDING = Binding("colours", "fingerprint", DIM)
MEMORY = Memory(1, "pets", Options(), BINDING, 0.0, 7, 60, 0)


def vectors(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, DIM))


class Held:
    """The state of a memory, which tells how often it was held; it may be one that others hold for a while."""

    def __init__(self) -> None:
        self.times = 0
        self.by_others = False
        self.state = State(MEMORY)
        rows = [
            Row(n, f"e{n}", "cat" if n % 2 else "dog", key, n < 3, 1)
            for n, key in enumerate(pack(keys_of(vectors(60, 0), BINDING)))
        ]
        self.state.write(MEMORY, rows)

    @contextmanager
    def __call__(self, name: str, revision: int | None = None, *, wait: bool = True) -> Iterator[State]:
        if self.by_others and not wait:
            raise WouldWait
        self.times += 1
        if revision is not None and revision > MEMORY.revision:
            raise RevisionNotReached(f"{name}: {revision}")
        yield self.state


def question(
    count: int = 1,
    seed: int = 1,
    *,
    binding: Binding = BINDING,
    evidence: int = 5,
    top_k: int = 5,
    revision: int | None = None,
) -> Question:
    return Question(vectors(count, seed), binding, evidence, top_k, revision)


def ask_all(
    held: Held, questions: list[Question], max_queue: int = 100, observer: Observer | None = None
) -> list[Recalled | BaseException]:
    """Ask the first; the others come while it is being answered."""

    async def asked() -> list[Recalled | BaseException]:
        begun, may_end = asyncio.Event(), asyncio.Event()

        async def run(work: Callable[[], list[Recalled | ServiceError]]) -> list[Recalled | ServiceError]:
            begun.set()
            await may_end.wait()
            return work()

        asking, deadline = (
            Questions("pets", held, run, max_queue=max_queue, max_delay=0.0, observer=observer or Observer()),
            asyncio.get_running_loop().time() + 60,
        )
        tasks = [asyncio.create_task(asking.ask(questions[0], deadline))]
        await begun.wait()
        tasks += [asyncio.create_task(asking.ask(each, deadline)) for each in questions[1:]]
        await asyncio.sleep(0)
        may_end.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    return asyncio.run(asked())


def test_those_that_wait_are_answered_together_as_if_each_were_alone() -> None:
    questions = [question(), question(3, 2), question(1, 3), question(90, 4), question(1, 5)]
    held = Held()
    together = ask_all(held, questions)
    assert held.times == 2  # the first, and the others
    for one, asked in zip(together, questions, strict=True):
        (alone,) = ask_all(Held(), [asked])
        assert isinstance(one, Recalled)
        assert isinstance(alone, Recalled)
        assert len(one.answers) == len(asked.vectors)
        assert (
            one.shown
            == alone.shown
            == {seen.id for answer in one.answers for seen in answer.evidence if seen.id in ("e0", "e1", "e2")}
        )
        for ours, theirs in zip(one.answers, alone.answers, strict=True):
            assert [label for label, _ in ours.labels] == [label for label, _ in theirs.labels]
            assert [seen.id for seen in ours.evidence] == [seen.id for seen in theirs.evidence]
            assert (ours.p_value, ours.unknown, ours.strongest) == (theirs.p_value, theirs.unknown, theirs.strongest)


def test_each_gets_as_much_as_it_asks_for() -> None:
    asked = [question(), question(evidence=0), question(evidence=9), question(top_k=1), question(revision=7)]
    answers = ask_all(Held(), asked)
    sizes = [
        (len(one.answers[0].evidence), len(one.answers[0].labels)) for one in answers if isinstance(one, Recalled)
    ]
    assert sizes == [(5, 2), (0, 2), (9, 2), (5, 1), (5, 2)]


def test_what_cannot_be_answered_is_nobody_elses_trouble() -> None:
    rebound = question(binding=replace(BINDING, fingerprint="another"))
    nothing = replace(question(), vectors=np.zeros((1, DIM)))
    answers = ask_all(Held(), [question(), rebound, question(), nothing, question(revision=8), question()])
    kinds = [type(each) for each in answers]
    assert kinds == [Recalled, MemoryConflict, Recalled, MemoryInvalid, RevisionNotReached, Recalled]


def test_too_many_and_too_late() -> None:
    class Noted(Observer):
        def __init__(self) -> None:
            self.batches: list[tuple[str, str, int]] = []
            self.reasons: list[tuple[str, str]] = []

        def batch(
            self, model: str, version: str, operation: str, size: int, waits: Sequence[float], seconds: float
        ) -> None:
            self.batches.append((model, operation, size))

        def rejected(self, model: str, version: str, reason: str) -> None:
            self.reasons.append((model, reason))

    noted = Noted()
    answers = ask_all(Held(), [question() for _ in range(5)], max_queue=2, observer=noted)
    assert [type(each) for each in answers] == [Recalled, Recalled, Recalled, QueueFull, QueueFull]
    assert noted.batches == [("colours", "recall", 1), ("colours", "recall", 2)]
    assert noted.reasons == [("colours", "queue-full")] * 2

    async def late() -> None:
        async def never(_: object) -> list[Recalled | ServiceError]:
            await asyncio.Event().wait()
            return []

        asking = Questions("pets", Held(), never, max_queue=10, max_delay=0.0, observer=Observer())
        await asking.ask(question(), asyncio.get_running_loop().time() + 0.01)

    with pytest.raises(DeadlineExceeded):
        asyncio.run(late())


def test_one_who_leaves_takes_no_answer_from_the_others() -> None:
    async def asked() -> tuple[bool, list[Recalled]]:
        begun, may_end = asyncio.Event(), asyncio.Event()

        async def run(work: Callable[[], list[Recalled | ServiceError]]) -> list[Recalled | ServiceError]:
            begun.set()
            await may_end.wait()
            return work()

        asking = Questions("pets", Held(), run, max_queue=9, max_delay=0.0, observer=Observer())
        deadline = asyncio.get_running_loop().time() + 60
        tasks = [asyncio.create_task(asking.ask(question(seed=seed), deadline)) for seed in range(3)]
        await begun.wait()
        tasks[1].cancel()
        await asyncio.wait([tasks[1]])
        may_end.set()
        return tasks[1].cancelled(), [await tasks[0], await tasks[2]]

    left, others = asyncio.run(asked())
    assert left
    assert all(len(each.answers) == 1 for each in others)


class Clock:
    """A clock that goes on by a step whenever it is read."""

    def __init__(self) -> None:
        self.now, self.step = 0.0, 1e-4

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def test_questions_that_take_no_time_are_answered_without_a_thread() -> None:
    held, clock, threads = Held(), Clock(), 0

    async def run(work: Callable[[], list[Recalled | ServiceError]]) -> list[Recalled | ServiceError]:
        nonlocal threads
        threads += 1
        return work()

    async def asked() -> None:
        asking = Questions("pets", held, run, max_queue=9, max_delay=0.0, observer=Observer(), clock=clock)
        deadline = asyncio.get_running_loop().time() + 60

        async def ask(on_threads: int, *questions: Question) -> list[Recalled]:
            before = threads
            found = await asyncio.gather(*(asking.ask(each, deadline) for each in questions))
            assert threads - before == on_threads
            return found

        (first,) = await ask(1, question())  # there may be much to compute, once
        await ask(1, question())  # nobody knows yet how long it takes
        (again,) = await ask(0, question())
        assert [each.labels for each in again.answers] == [each.labels for each in first.answers]
        await ask(1, question(90))  # so many may take long
        await ask(0, question(), question(2))  # several, one of them of several images

        with pytest.raises(RevisionNotReached):
            await ask(0, question(revision=8))
        held.by_others = True
        await ask(1, question())
        held.by_others = False
        held.state.write(MEMORY, [Row(60, "e60", "cat", pack(keys_of(vectors(1, 9), BINDING))[0], False, 2)])
        await ask(1, question())
        await ask(1, question())
        await ask(0, question())

        clock.step = 0.1  # at once still, and it turns out to take long
        await ask(0, question())
        await ask(1, question())

    asyncio.run(asked())
