"""What ends is started again, after pauses that grow."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from service.processes.restart import FIRST_PAUSE, LONGEST_PAUSE, keep_running
from tests.support.virtual import time as virtual_time


def test_pauses_double_until_something_has_worked_for_long() -> None:
    lives = [0.0, 0.0, 0.0, LONGEST_PAUSE + 1, 0.0, None]

    async def run() -> list[float]:
        now = asyncio.get_running_loop().time
        starts: list[float] = []

        async def live() -> float | None:
            starts.append(now())
            return lives[len(starts) - 1]

        await keep_running(live)
        return [after - before for before, after in itertools.pairwise(starts)]

    assert virtual_time.run(run()) == pytest.approx([FIRST_PAUSE * times for times in (1, 2, 4, 1, 2)])


def test_pauses_have_a_limit() -> None:
    async def run() -> float:
        begun: list[float] = []

        async def live() -> float | None:
            begun.append(asyncio.get_running_loop().time())
            return 0.0 if len(begun) < 20 else None

        await keep_running(live)
        return begun[-1] - begun[-2]

    assert virtual_time.run(run()) == pytest.approx(LONGEST_PAUSE)


def test_stopping_ends_the_pause() -> None:
    async def run() -> tuple[int, float]:
        stopping = asyncio.Event()
        lives = 0

        async def live() -> float | None:
            nonlocal lives
            lives += 1
            asyncio.get_running_loop().call_later(FIRST_PAUSE / 2, stopping.set)
            return 0.0

        await keep_running(live, stopping)
        return lives, asyncio.get_running_loop().time()

    assert virtual_time.run(run()) == (1, pytest.approx(FIRST_PAUSE / 2))
