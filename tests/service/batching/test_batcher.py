"""The laws of the batcher and its delay, in virtual time: every wait is exact, and no test takes any."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from service.errors import DeadlineExceeded, QueueFull, RequestTooLarge
from tests.support.virtual.batcher import Model, batcher, now
from tests.support.virtual.time import run

# ---- laws ----


@dataclass(frozen=True)
class Plan:
    """A request: when it comes, how many items it has, when it is given up, and by whom."""

    at: float
    items: int
    patience: float
    deadline: bool


SECONDS = st.integers(0, 60).map(lambda value: value / 200)
PLANS = st.lists(
    st.builds(Plan, SECONDS, st.integers(0, 20), st.just(math.inf) | SECONDS, st.booleans()), min_size=1, max_size=30
)


@hypothesis_settings(deadline=None, max_examples=200, derandomize=True)
@given(
    PLANS,
    st.integers(1, 9),
    st.integers(1, 25),
    st.integers(1, 3),
    st.integers(0, 2),
    st.sets(st.integers(0, 200), max_size=3),
)
def test_laws(plans: list[Plan], max_batch: int, max_queue: int, parallel: int, ahead: int, broken: set[int]) -> None:
    async def check() -> None:
        model = Model(broken=frozenset(broken), parallel=parallel)
        depths, sizes = [], []

        async def watched(items: list[int]) -> Sequence[int]:
            assert len(items) <= max_batch
            depths.append(queue.depth)
            sizes.append(queue.running)
            return await model(items)

        queue = batcher(watched, max_batch=max_batch, max_queue=max_queue, parallel=parallel, ahead=ahead)
        names = iter(range(10**6))
        gone: dict[int, float] = {}  # item -> when its request ended

        def outcome(plan: Plan, items: list[int], room: int, end: float, error: BaseException | None) -> bool:
            match error:
                case RequestTooLarge():
                    assert len(items) > max_queue
                case QueueFull(retry_after=seconds):
                    assert room < len(items) <= max_queue
                    assert 0 <= seconds < math.inf
                case DeadlineExceeded() | TimeoutError():
                    assert isinstance(error, DeadlineExceeded) == plan.deadline
                    assert now() == pytest.approx(end)
                    gone.update(dict.fromkeys(items, now()))
                case ArithmeticError():
                    assert set(error.args[0]) & set(items)
                case _:
                    return False
            return True

        async def request(plan: Plan) -> None:
            await asyncio.sleep(plan.at)
            items = [next(names) for _ in range(plan.items)]
            room = max_queue - queue.depth
            end = now() + plan.patience
            deadline = end if plan.deadline and end < math.inf else None
            cancelled = end if deadline is None and end < math.inf else None
            async with AsyncExitStack() as stack:
                stack.push(lambda _, error, __: outcome(plan, items, room, end, error))
                await stack.enter_async_context(asyncio.timeout_at(cancelled))
                assert await queue.submit(items, deadline=deadline) == [-item for item in items]
            depths.append(queue.depth)

        await asyncio.gather(*map(request, plans))
        await queue.close()
        assert all(0 <= depth <= max_queue for depth in depths)
        assert queue.depth == queue.running == 0
        assert all(size <= parallel + ahead for size in sizes)
        ran = [item for batch in model.batches for item in batch]
        assert len(ran) == len(set(ran)), "an item ran twice"
        for batch, start in zip(model.batches, model.starts, strict=True):
            assert all(gone.get(item, math.inf) >= start for item in batch), "an item ran that nobody waited for"

    run(check())


@hypothesis_settings(deadline=None, max_examples=100, derandomize=True)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(1, 9), st.data())
def test_a_request_waits_for_one_item_of_each_other(sizes: list[int], max_batch: int, data: st.DataObject) -> None:
    async def check() -> None:
        model = Model()
        queue = batcher(model, max_batch=max_batch, max_queue=1000)
        others = [asyncio.create_task(queue.submit([-1] * size)) for size in sizes]
        await asyncio.sleep(data.draw(st.integers(0, 50)) / 1000)
        waiting, begun = sum(not task.done() for task in others), len(model.batches)
        await queue.submit([1])
        ahead = next(index for index, batch in enumerate(model.batches) if 1 in batch) - begun
        assert ahead <= waiting // max_batch
        await asyncio.gather(*others)

    run(check())


# ---- delay ----


def test_a_lone_request_never_waits() -> None:
    async def check() -> None:
        waits = []
        queue = batcher(Model(), observe=lambda _, each, __: waits.extend(each))
        for pause in (0, 0, 0.001, 0.5, 0, 3, 0.02):
            await asyncio.sleep(pause)
            await queue.submit([1, 2, 3])
        assert waits == [0.0] * 21

    run(check())


def closed_loop(clients: int, seconds: float, think: float = 0.0005, **options: float) -> tuple[int, float]:
    """(requests answered, mean batch) of clients that each send one item, and the next after the answer."""

    async def check() -> tuple[int, float]:
        model = Model(fixed=0.01, slope=0.0001)
        queue = batcher(model, max_batch=64, **options)
        answered = 0

        async def client(number: int) -> None:
            nonlocal answered
            while True:
                await asyncio.sleep(think * (1 + number / clients))
                await queue.submit([number])
                answered += 1

        tasks = [asyncio.create_task(client(number)) for number in range(clients)]
        await asyncio.sleep(seconds)
        for task in tasks:
            task.cancel()
        return answered, sum(map(len, model.batches)) / len(model.batches)

    return run(check())


def test_under_load_batches_fill() -> None:
    # Answered together, clients come back together: without a delay the first to come would go alone.
    answered, size = closed_loop(32, seconds=5)
    hasty, small = closed_loop(32, seconds=5, max_delay=0.0)
    assert size > 28
    assert small < 20
    assert answered > 1.4 * hasty


def test_the_delay_has_a_bound() -> None:
    async def check() -> None:
        model = Model(fixed=1.0)
        delays: list[float] = []
        queue = batcher(model, max_delay=0.05)

        async def client(pause: float) -> None:
            for _ in range(30):
                came = now()
                await queue.submit([1])
                ends = [start + 1.001 for start in model.starts if came <= start + 1.001 <= model.starts[-1]]
                delays.append(model.starts[-1] - max(came, *ends, 0.0))  # since it was there and the model idle
                await asyncio.sleep(pause)

        await asyncio.gather(client(0.001), client(0.002), client(0.3), client(0.7))
        assert 0.001 < max(delays) <= 0.05 + 1e-6

    run(check())


def test_nothing_polls() -> None:
    async def wait_forever() -> None:
        queue = batcher(Model())
        await asyncio.gather(*(queue.submit([1]) for _ in range(20)))
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="nothing will ever happen"):
        run(wait_forever())
