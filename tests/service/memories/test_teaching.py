"""Teaching for one who waits only so long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from service.engine import Engine
from service.errors import DeadlineExceeded
from service.images.upload import Upload
from service.memories.archive import Item
from service.memories.embedding import CHUNK, Draft
from service.memories.memories import Memories
from service.memories.records import Lesson, Memory
from service.memories.results import Taught
from service.settings import load_settings
from tests.support.stress.memory_histories import lesson, taught


@pytest.fixture
def memories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Memories]:
    """The memories of a process, one of which has been taught something; a stand-in looks at images."""
    settings = load_settings(memories=str(tmp_path / "memories.sqlite"))
    found = Memories(settings, Engine(settings))

    async def model_of(_: Memory) -> Any:
        return SimpleNamespace(held=nullcontext)

    async def look(draft: Draft, *_: Any) -> Lesson:
        return replace(draft.lesson, key=lesson(draft.lesson.id).key)

    async def look_at_many(drafts: Sequence[Draft], *_: Any) -> AsyncIterator[list[Lesson]]:
        yield [await look(draft) for draft in drafts]

    monkeypatch.setattr(found.bindings, "model_of", model_of)
    monkeypatch.setattr(found.embedder, "lesson", look)
    monkeypatch.setattr(found.embedder, "lessons", look_at_many)
    taught(found.store, lesson("a"))
    yield found
    found.close()


def items(count: int) -> list[Item]:
    return [Item(f"{number}.png", "cat", lambda number=number: b"%d" % number) for number in range(count)]


async def teach(memories: Memories, seconds: float) -> tuple[int, Taught]:
    deadline = asyncio.get_running_loop().time() + seconds
    return await memories.teach("pets", "b", "cat", "", Upload(b"image"), None, "Ada", deadline=deadline)


async def teach_many(memories: Memories, seconds: float, count: int = 3) -> tuple[int, list[Taught]]:
    deadline = asyncio.get_running_loop().time() + seconds
    return await memories.teach_many("pets", items(count), "", "", None, "Ada", deadline=deadline)


@pytest.mark.parametrize("way", [teach, teach_many])
def test_nothing_is_stored_once_the_time_is_over(memories: Memories, way: Any) -> None:
    before = memories.store.memory("pets")
    with pytest.raises(DeadlineExceeded):
        asyncio.run(way(memories, -1))
    assert memories.store.memory("pets") == before
    revision, _ = asyncio.run(way(memories, 1000))
    assert revision == memories.store.memory("pets").revision > before.revision


def test_what_is_stored_before_the_time_is_over_stays_and_is_told(
    memories: Memories, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep, kept = memories.store.teach, list[int]()

    def keep_once(name: str, lessons: Sequence[Lesson], *arguments: Any) -> Any:
        if kept:
            raise DeadlineExceeded
        kept.append(len(lessons))
        return keep(name, lessons, *arguments)

    monkeypatch.setattr(memories.store, "teach", keep_once)
    revision, results = asyncio.run(teach_many(memories, 1000, CHUNK + 2))
    assert [each.outcome for each in results[:CHUNK]] == ["created"] * CHUNK
    assert [type(each.outcome) for each in results[CHUNK:]] == [DeadlineExceeded] * 2
    assert (revision, memories.store.memory("pets").examples) == (memories.store.memory("pets").revision, 1 + CHUNK)
