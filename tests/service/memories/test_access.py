"""A process reads a memory once, whoever wants it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from service.engine import Engine
from service.errors import MemoryNotFound
from service.memories.access import MemoryAccess
from service.settings import load_settings
from tests.support.processes.waiting import CEILING
from tests.support.stress.memory_histories import lesson, taught


@pytest.fixture
def access(tmp_path: Path) -> Iterator[MemoryAccess]:
    """Access to a store with a memory, pets."""
    settings = load_settings(memories=str(tmp_path / "memories.sqlite"))
    found = MemoryAccess(settings, Engine(settings))
    taught(found.store, lesson("a"), lesson("b", "dog"))
    yield found
    found.close()


def test_those_who_want_a_memory_first_read_it_together(access: MemoryAccess, monkeypatch: pytest.MonkeyPatch) -> None:
    together, reads = threading.Barrier(4), []
    read = access.store.changes

    def counted(name: str, since: int | None = None) -> Any:
        reads.append(name)
        return read(name, since)

    def content(_: int) -> int:
        together.wait(10)
        with access.state("pets") as state:
            return id(state.content)

    monkeypatch.setattr(access.store, "changes", counted)
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(content, range(4)))
    assert len(found) == 1
    assert reads == ["pets"]
    assert access.known("pets") is not None


def test_names_of_what_is_not_there_leave_nothing_behind(access: MemoryAccess) -> None:
    for number in range(3):
        with pytest.raises(MemoryNotFound), access.state(f"nothing {number}"):
            pass
    assert not access._begun
    assert not access._indices


def test_a_memory_that_was_deleted_and_made_anew_is_the_new_one(access: MemoryAccess) -> None:
    with access.state("pets") as state:
        assert set(state.content.ids()) == {"a", "b"}
    access.store.delete("pets")
    with pytest.raises(MemoryNotFound), access.state("pets"):
        pass
    taught(access.store, lesson("c", "eel"))
    with access.state("pets") as state:
        assert state.content.ids() == ["c"]


def test_what_was_changed_for_one_who_has_left_is_logged(access: MemoryAccess) -> None:
    begun, go, noted = threading.Event(), threading.Event(), asyncio.Event()

    def work(number: int) -> int:
        begun.set()
        assert go.wait(CEILING)
        return number

    async def leave() -> list[int]:
        found: list[int] = []

        def note(number: int) -> None:
            found.append(number)
            noted.set()

        task = asyncio.create_task(access.change(work, note, 7))
        await asyncio.to_thread(begun.wait, CEILING)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go.set()
        async with asyncio.timeout(CEILING):
            await noted.wait()
        return found

    assert asyncio.run(leave()) == [7]
