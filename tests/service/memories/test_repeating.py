"""What is asked for once is done once, and a request that fails leaves nothing in the way of the next."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.engine import Engine
from service.errors import MemoryConflict, RequestUnderWay, StoreUnavailable
from service.memories.memories import Memories
from service.memories.records import Claim
from service.settings import load_settings
from tests.support.processes.waiting import until
from tests.support.stress.memory_histories import taught


@pytest.fixture
def memories(tmp_path: Path) -> Iterator[Memories]:
    settings = load_settings(memories=str(tmp_path / "memories.sqlite"))
    memories = Memories(settings, Engine(settings))
    taught(memories.store)
    yield memories
    memories.close()


def test_an_answer_is_made_once(memories: Memories) -> None:
    async def ask() -> None:
        async with memories.once("pets", "key", b"request") as once:
            assert once.before is None
            with pytest.raises(RequestUnderWay):
                async with memories.once("pets", "key", b"request"):
                    pass
            once.answer = "first"
        async with memories.once("pets", "key", b"request") as once:
            assert once.before == "first"
        with pytest.raises(MemoryConflict):
            async with memories.once("pets", "key", b"another"):
                pass

    asyncio.run(ask())


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError])
def test_a_request_that_fails_is_begun_anew(memories: Memories, error: type[BaseException]) -> None:
    async def ask() -> None:
        with pytest.raises(error):
            async with memories.once("pets", "key", b"request"):
                raise error
        async with memories.once("pets", "key", b"request") as once:
            assert once.before is None
            once.answer = "second"

    asyncio.run(ask())


def test_a_claim_is_renewed_while_its_answer_is_made(memories: Memories, monkeypatch: pytest.MonkeyPatch) -> None:
    renewed: list[Claim] = []

    def renew(claim: Claim) -> None:
        renewed.append(claim)
        if len(renewed) == 1:
            raise StoreUnavailable("busy")

    monkeypatch.setattr("service.memories.repeating.CLAIM_SECONDS", 0.003)
    monkeypatch.setattr(memories.store, "renew_claim", renew)

    async def ask() -> None:
        async with memories.once("pets", "key", b"request") as once:
            await until(lambda: len(renewed) > 2)
            once.answer = "late"

    asyncio.run(ask())
    assert {claim.memory for claim in renewed} == {"pets"}
