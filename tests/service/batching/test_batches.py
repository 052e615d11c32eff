"""What the batcher puts into a batch, and when it hands one over beside those that run; in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from service.errors import QueueFull
from tests.support.virtual.batcher import Model, batcher, now
from tests.support.virtual.time import run


def test_a_full_batch_goes_ahead_and_one_that_is_not_does_not() -> None:
    async def check() -> None:
        model = Model(fixed=1.0, slope=0.0)
        queue = batcher(model, max_batch=4, ahead=1, max_delay=0)
        tasks = [asyncio.create_task(queue.submit([item])) for item in range(7)]
        await asyncio.sleep(0.5)
        assert (queue.running, queue.depth) == (1, 3)
        tasks.append(asyncio.create_task(queue.submit([7])))
        await asyncio.sleep(0.1)
        assert (queue.running, queue.depth) == (2, 0)
        await asyncio.gather(*tasks)
        assert now() == pytest.approx(2.0)

    run(check())


def test_nothing_stands_still_while_another_batch_runs() -> None:
    async def check() -> None:
        model = Model(fixed=1.0, slope=0.0, parallel=2)
        queue = batcher(model, max_batch=4, parallel=2, ahead=1, max_delay=0)
        tasks = []
        for item in range(3):  # two begin at once, with one item each
            tasks.append(asyncio.create_task(queue.submit([item])))
            await asyncio.sleep(0.1)
        assert (queue.running, queue.depth) == (2, 1)
        tasks.append(asyncio.create_task(queue.submit([3, 4, 5])))
        await asyncio.sleep(0.1)
        assert (queue.running, queue.depth) == (3, 0)  # a full one is handed over
        await asyncio.gather(*tasks)
        assert model.batches == [[0], [1], [2, 3, 4, 5]]
        assert now() == pytest.approx(2.0)

    run(check())


def test_nothing_waits_for_more_beside_a_batch_that_runs() -> None:
    async def check() -> None:
        model = Model(fixed=0.1, slope=0.01, parallel=2)
        queue = batcher(model, max_batch=20, parallel=2)
        tasks = [asyncio.create_task(queue.submit([0]))]  # ends at 0.11
        await asyncio.sleep(0.001)
        tasks.append(asyncio.create_task(queue.submit([1, 2, 3, 4])))  # ends at 0.141
        await asyncio.sleep(0.108)
        tasks += [asyncio.create_task(queue.submit([item])) for item in range(5, 17)]  # more may well come
        await asyncio.gather(*tasks)
        assert model.starts == pytest.approx([0.0, 0.001, 0.11])

    run(check())


def test_the_next_batch_is_handed_over_before_the_answers_are() -> None:
    async def check() -> None:
        seen: list[str] = []

        async def record(items: list[int]) -> Sequence[int]:
            seen.append(f"batch {items[0]}")
            await asyncio.sleep(1)
            return items

        queue = batcher(record, max_batch=2, max_delay=0)

        async def client(item: int) -> None:
            await queue.submit([item])
            seen.append(f"answer {item}")

        await asyncio.gather(*map(client, range(4)))
        assert seen == ["batch 0", "batch 2", "answer 0", "answer 1", "answer 2", "answer 3"]

    run(check())


def test_what_waits_is_spread_over_all_that_can_begin() -> None:
    async def check() -> None:
        model = Model(fixed=0.0, slope=1.0, parallel=3)
        queue = batcher(model, max_batch=8, parallel=3, ahead=1, max_delay=0)
        assert await queue.submit(list(range(7))) == [-item for item in range(7)]
        assert model.batches == [[0, 1, 2], [3, 4], [5, 6]]
        assert now() == pytest.approx(3.0)

    run(check())


def test_a_batch_of_more_than_a_piece_is_whole_pieces() -> None:
    async def check() -> None:
        for waiting, expected in ((3, [3]), (4, [4]), (5, [4, 1]), (11, [8, 3]), (20, [8, 8, 4])):
            model = Model()
            queue = batcher(model, max_batch=10, piece=4, max_delay=0)
            assert await queue.submit(list(range(waiting))) == [-item for item in range(waiting)]
            assert [len(batch) for batch in model.batches] == expected

    run(check())


def test_a_batch_handed_ahead_costs_what_it_took_from_its_beginning() -> None:
    async def check() -> None:
        model = Model(fixed=0.0, slope=1.0, parallel=2)
        queue = batcher(model, max_batch=2, max_queue=8, parallel=2, ahead=2, max_delay=0)
        await asyncio.gather(*(queue.submit([0, 0]) for _ in range(4)))
        assert now() == pytest.approx(4.0)
        tasks = [asyncio.create_task(queue.submit([0, 0])) for _ in range(4)]
        await asyncio.sleep(0)
        with pytest.raises(QueueFull) as caught:
            await queue.submit([0])
        assert caught.value.retry_after == pytest.approx(8 * 1.0 / 2)  # items, seconds each, side by side
        await asyncio.gather(*tasks)

    run(check())
