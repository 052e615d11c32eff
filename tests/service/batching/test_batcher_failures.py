"""What the batcher refuses, what is given up, what fails, and how it ends; in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from service.batching.batcher import Closed
from service.errors import DeadlineExceeded, QueueFull, RequestTooLarge
from tests.support.virtual.batcher import Model, batcher, now
from tests.support.virtual.time import run


def test_what_the_queue_does_not_take() -> None:
    async def check() -> None:
        queue = batcher(Model(fixed=1.0, slope=0.0), max_batch=2, max_queue=4)
        with pytest.raises(RequestTooLarge, match="5 items, and the queue takes 4"):
            await queue.submit([0] * 5)
        await queue.submit([0])
        tasks = []
        for _ in range(3):  # two run, four wait
            tasks.append(asyncio.create_task(queue.submit([0, 0])))
            await asyncio.sleep(0.1)
        with pytest.raises(QueueFull) as caught:
            await queue.submit([0])
        assert 1.0 <= caught.value.retry_after <= 4.0
        assert await queue.submit([]) == []
        await asyncio.gather(*tasks)
        assert await queue.submit([7]) == [-7]

    run(check())


def test_what_is_given_up_makes_room_at_once() -> None:
    async def check() -> None:
        model = Model(fixed=1.0)
        queue = batcher(model, max_batch=1, max_queue=3)
        running = asyncio.create_task(queue.submit([1]))
        await asyncio.sleep(0.1)
        waiting = asyncio.create_task(queue.submit([2, 2, 2]))
        await asyncio.sleep(0.1)
        waiting.cancel()
        await asyncio.sleep(0)
        assert queue.depth == 0
        assert await queue.submit([3], deadline=now() + 5) == [-3]
        with pytest.raises(DeadlineExceeded):
            await queue.submit([4], deadline=now())
        await running
        assert model.batches == [[1], [3]]

    run(check())


def test_a_failure_fails_its_own_requests_only() -> None:
    async def check() -> None:
        model = Model(broken=frozenset({5}))
        queue = batcher(model, max_batch=4)
        requests = [[0, 1], [2, 3], [4, 5, 6, 7], [8]]
        answers = await asyncio.gather(*map(queue.submit, requests), return_exceptions=True)
        assert model.batches == [[0, 2, 4, 8], [1, 3, 5, 6]]
        assert [type(answer) for answer in answers] == [ArithmeticError, ArithmeticError, ArithmeticError, list]
        assert await queue.submit([1]) == [-1]

    run(check())


def test_whatever_ends_a_batch_leaves_nobody_waiting() -> None:
    class Ended(BaseException):
        """No failure of the model: something that stops the program, as an interrupt does."""

    observed: list[int] = []

    async def ended(items: list[int]) -> Sequence[int]:
        raise Ended

    async def main() -> None:
        queue = batcher(ended, observe=lambda size, *_: observed.append(size))
        with pytest.raises(asyncio.CancelledError):
            await queue.submit([1, 2])
        assert queue.running == 0

    run(main())
    assert observed == [2]


def test_a_run_that_loses_a_result_is_a_failure() -> None:
    async def lose(items: list[int]) -> Sequence[int]:
        return items[1:]

    async def check() -> None:
        with pytest.raises(RuntimeError, match="2 items had 1 results"):
            await batcher(lose).submit([1, 2])

    run(check())


def test_an_observer_that_fails_keeps_no_answer_back() -> None:
    def fail(*_: object) -> None:
        raise ArithmeticError

    async def check() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # it is told that a task failed
        queue = batcher(Model(), max_batch=2, max_delay=0, observe=fail)
        assert await asyncio.gather(*map(queue.submit, ([1], [2], [3]))) == [[-1], [-2], [-3]]

    run(check())


def test_closing_answers_what_was_taken() -> None:
    async def check() -> None:
        model = Model()
        queue = batcher(model, max_batch=4)
        tasks = [asyncio.create_task(queue.submit([item] * 5)) for item in range(5)]
        await asyncio.sleep(0)
        await queue.close()
        assert [task.result() for task in tasks] == [[-item] * 5 for item in range(5)]
        with pytest.raises(Closed):
            await queue.submit([1])
        await queue.close()

    run(check())


def test_aborting_fails_what_waits_and_not_what_runs() -> None:
    async def check() -> None:
        queue = batcher(Model(), max_batch=2)
        tasks = [asyncio.create_task(queue.submit([item, item])) for item in range(3)]
        await asyncio.sleep(0.005)
        queue.abort(ConnectionError())
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        # The first two share the batch that runs; each of them has an item that waits.
        assert [type(answer) for answer in answers] == [ConnectionError] * 3
        assert queue.depth == 0
        assert await queue.submit([9]) == [-9]

    run(check())
