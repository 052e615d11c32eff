"""The model is loaded in torch when nobody waits for anything else, or when somebody asks for an explanation."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from service.errors import ModelUnavailable
from service.model_process.supervised import SupervisedProcess
from service.models.explainer import Explainer
from service.models.idleness import IDLE_SECONDS, Idleness
from service.repository.folders import ModelError
from tests.support.virtual.time import run


class Process:
    """Stands for a process that takes ten seconds to load."""

    def __init__(self, error: ModelError | None = None) -> None:
        self.description: dict[str, Any] = {"explains": True}
        self.started: float | None = None
        self.closed = False
        self._error = error

    async def start(self) -> None:
        self.started = asyncio.get_running_loop().time()
        await asyncio.sleep(10)
        if self._error:
            raise self._error

    def kill(self) -> None:
        self.closed = True

    async def close(self) -> None:
        self.closed = True


def make(process: Process, idleness: Idleness | None = None) -> Explainer:
    return Explainer(cast(SupervisedProcess, process), idleness or Idleness())


def test_it_is_loaded_in_the_first_idle_moment() -> None:
    async def work() -> None:
        process, idleness = Process(), Idleness()
        with idleness.loading():
            make(process, idleness)
            await asyncio.sleep(10 * IDLE_SECONDS)  # later models are being measured
        for _ in range(5):
            await asyncio.sleep(0.9 * IDLE_SECONDS)
            idleness.disturb()
        assert process.started is None
        await asyncio.sleep(2 * IDLE_SECONDS)
        assert process.started is not None

    run(work())


def test_who_asks_sooner_has_it_loaded_at_once() -> None:
    async def work() -> None:
        process = Process()
        explainer = make(process)
        assert explainer.explains
        assert await explainer.process() is process
        assert process.started == 0.0
        process.description["explains"] = False
        await explainer.close()
        assert process.closed

    run(work())


def test_what_cannot_be_loaded_does_not_explain() -> None:
    async def work() -> None:
        explainer = make(Process(ModelError("its weights are damaged")))
        with pytest.raises(ModelUnavailable, match="cannot be explained"):
            await explainer.process()
        assert not explainer.explains

    run(work())


def test_it_ends_before_it_has_begun() -> None:
    async def work() -> None:
        process = Process()
        await make(process).close()
        assert process.started is None
        assert process.closed

    run(work())


def test_it_is_killed_while_it_loads() -> None:
    async def work() -> None:
        process = Process()
        explainer = make(process)
        asked = asyncio.create_task(explainer.process())
        await asyncio.sleep(1)
        explainer.kill()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert process.closed

    run(work())
