"""A server is idle when nothing has been loaded or run for a while, in any of its processes."""

from __future__ import annotations

import asyncio

from service.models.idleness import IDLE_SECONDS, Idleness
from tests.support.virtual.time import run


async def passed(seconds: float, idleness: Idleness) -> bool:
    """Let time pass; return whether the process is idle then."""
    await asyncio.sleep(seconds)
    return idleness.here


def test_nothing_is_idle_before_the_first_models_are_loaded() -> None:
    async def work() -> None:
        idleness = Idleness()
        assert not await passed(10 * IDLE_SECONDS, idleness)
        with idleness.loading():
            assert not await passed(10 * IDLE_SECONDS, idleness)
        assert not await passed(0.9 * IDLE_SECONDS, idleness)
        assert await passed(0.2 * IDLE_SECONDS, idleness)

    run(work())


def test_loading_within_loading_ends_with_the_last() -> None:
    async def work() -> None:
        idleness = Idleness()
        with idleness.loading():
            with idleness.loading():
                pass
            assert not await passed(2 * IDLE_SECONDS, idleness)
        assert await passed(1.1 * IDLE_SECONDS, idleness)

    run(work())


def test_every_batch_begins_the_wait_anew() -> None:
    async def work() -> None:
        idleness = Idleness()
        with idleness.loading():
            pass
        waiting = asyncio.create_task(idleness.wait())
        for _ in range(5):
            await asyncio.sleep(0.9 * IDLE_SECONDS)
            idleness.disturb()
        assert not waiting.done()
        await asyncio.sleep(2 * IDLE_SECONDS)
        assert waiting.done()

    run(work())


def test_the_other_processes_must_be_idle_too() -> None:
    async def work() -> None:
        idle = asyncio.Event()

        async def others() -> bool:
            return idle.is_set()

        idleness = Idleness()
        idleness.ask_others(others)
        with idleness.loading():
            pass
        waiting = asyncio.create_task(idleness.wait())
        await asyncio.sleep(10 * IDLE_SECONDS)
        assert not waiting.done()
        idle.set()
        await asyncio.sleep(IDLE_SECONDS)
        assert waiting.done()

    run(work())
