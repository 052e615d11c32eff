"""The batcher in virtual time: every wait is exact, and no test takes any."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from service.batching.batcher import Batcher, Closed
from service.errors import DeadlineExceeded, QueueFull, RequestTooLarge
from tests.support.virtual_time import run


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
    return asyncio.get_running_loop().time()


def batcher(model: Callable[[list[int]], Awaitable[Sequence[int]]], **options: object) -> Batcher[int, int]:
    settings = {"max_batch": 8, "max_queue": 100, "max_delay": 0.05} | options
    return Batcher(model, clock=asyncio.get_running_loop().time, **settings)  # type: ignore[arg-type]


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


def test_an_observer_that_fails_keeps_no_answer_back() -> None:
    def fail(*_: object) -> None:
        raise ArithmeticError

    async def check() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # it is told that a task failed
        queue = batcher(Model(), max_batch=2, max_delay=0, observe=fail)
        assert await asyncio.gather(*map(queue.submit, ([1], [2], [3]))) == [[-1], [-2], [-3]]

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


def test_nothing_polls() -> None:
    async def wait_forever() -> None:
        queue = batcher(Model())
        await asyncio.gather(*(queue.submit([1]) for _ in range(20)))
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="nothing will ever happen"):
        run(wait_forever())


# ---- refusals and ends ----


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
