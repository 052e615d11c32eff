"""What one request does to a memory beside others."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from service.engine import Engine
from service.memories.memories import Memories
from service.memories.records import Binding, Options
from service.memories.results import Described
from service.settings import load_settings
from tests.support.memory_histories import BINDING, lesson, taught


def test_a_memory_that_is_deleted_while_it_is_made_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_settings(memories=str(tmp_path / "memories.sqlite"))
    memories = Memories(settings, Engine(settings))
    describe = memories.describe

    async def bind(_: str | None) -> Binding:
        return BINDING

    async def delete_and_describe(name: str) -> Described:
        memories.store.delete(name)  # as another request may, between the two steps
        return await describe(name)

    monkeypatch.setattr(memories.bindings, "bind", bind)
    monkeypatch.setattr(memories, "describe", delete_and_describe)
    taught(memories.store, lesson("a"))
    described, new = asyncio.run(memories.create("pets", Options(), None, None, "somebody"))
    assert new
    assert (described.labels, described.memory.examples) == ({}, 0)
    assert memories.store.memory("pets") == described.memory
    memories.close()
