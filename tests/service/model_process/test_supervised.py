"""A process that works is left alone, however long others wait for it; one that hangs is ended."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from service.model_process.client import ModelProcess, ProcessEnded
from service.model_process.launcher import Launcher
from service.model_process.supervised import SupervisedProcess
from tests.support.virtual.batcher import now
from tests.support.virtual.time import run


class Process:
    """Answers one call after the other, each after some seconds."""

    def __init__(self, seconds: float) -> None:
        self.description: dict[str, Any] = {}
        self.pid = 1
        self.ended = asyncio.Event()
        self._seconds, self._turn = seconds, asyncio.Lock()

    async def call(self, operation: str, inputs: Any = (), **options: Any) -> str:
        answered = asyncio.ensure_future(self._answer(operation))
        ended = asyncio.ensure_future(self.ended.wait())
        await asyncio.wait([answered, ended], return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        if self.ended.is_set():
            answered.cancel()
            raise ProcessEnded("was ended")
        return await answered

    async def _answer(self, operation: str) -> str:
        async with self._turn:
            await asyncio.sleep(self._seconds)
        return operation

    def kill(self) -> None:
        self.ended.set()

    async def reason(self) -> str:
        return "was killed"


async def supervised(monkeypatch: pytest.MonkeyPatch, seconds: float) -> SupervisedProcess:
    """A process whose calls take some seconds each, and may take a second."""

    async def start(*_: Any, **__: Any) -> Process:
        return Process(seconds)

    monkeypatch.setattr(ModelProcess, "start", start)
    process = SupervisedProcess(
        launcher=Launcher(),
        spec={"path": "colours/1", "name": "colours", "version": "1"},
        load_seconds=10,
        stuck_seconds=1,
        on_ended=lambda: None,
        on_loaded=lambda seconds, error: None,
    )
    await process.start()
    await asyncio.sleep(0)
    return process


def test_calls_that_wait_for_each_other_have_the_time_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        process = await supervised(monkeypatch, seconds=0.9)
        names = ["logits", "logits", "features", "explain"]
        assert await asyncio.gather(*[process.call(name, []) for name in names]) == names
        assert now() == pytest.approx(3.6)
        process.kill()

    run(work())


def test_a_process_that_hangs_is_ended_after_the_time_of_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        process = await supervised(monkeypatch, seconds=1e6)
        calls = [process.call("logits", []) for _ in range(3)]
        failed = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(each) for each in failed] == [ProcessEnded] * 3
        assert now() == pytest.approx(1.0)
        process.kill()

    run(work())
