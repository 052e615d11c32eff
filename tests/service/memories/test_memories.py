"""What one request does to a memory beside others."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ait_lite.class_memory import ClassMemory
from service.engine import Engine
from service.errors import NotErased
from service.memories.memories import Memories
from service.memories.records import Binding, Options, Selection
from service.memories.results import Described
from service.settings import load_settings
from tests.support.processes.waiting import wait_for
from tests.support.stress.memory_histories import BINDING, QUOTAS, lesson, taught


@pytest.fixture
def memories(tmp_path: Path) -> Iterator[Memories]:
    """The memories of a process, without any model."""
    settings = load_settings(memories=str(tmp_path / "memories.sqlite"))
    found = Memories(settings, Engine(settings))
    yield found
    found.close()


def test_a_memory_that_is_deleted_while_it_is_made_is_made_anew(
    memories: Memories, monkeypatch: pytest.MonkeyPatch
) -> None:
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


@pytest.mark.parametrize("what", ["health", "verify", "write_file"])
def test_a_memory_answers_while_it_is_looked_through(
    memories: Memories, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    taught(memories.store, *(lesson(f"e{number}", label) for number, label in enumerate(["cat", "dog"] * 3)))
    work = {"health": "fullness", "verify": "verify", "write_file": "to_bytes"}[what]
    computed: Callable[..., Any] = getattr(ClassMemory, work)
    held: list[bool] = []

    def compute(content: ClassMemory) -> Any:
        with memories.state("pets", wait=False) as state:
            held.append(state.content is content)
        return computed(content)

    monkeypatch.setattr(ClassMemory, work, compute)
    asyncio.run(memories.write_file("pets", images=True) if what == "write_file" else getattr(memories, what)("pets"))
    assert held == [False]


def test_what_is_written_while_a_memory_is_verified_is_verified_too(
    memories: Memories, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = taught(memories.store, lesson("a"), lesson("b", "dog"), lesson("c", "dog"))
    asyncio.run(memories.verify("pets"))
    snapshot, changes = memories.snapshot, [lambda: None]

    def snapshot_and_write(name: str, revision: int | None) -> Any:
        found = snapshot(name, revision)
        changes.pop()()
        return found

    def teach() -> None:
        store.teach(store.memory("pets"), [lesson("b", "cat", 7), lesson("d", "eel")], QUOTAS)
        store.forget("pets", Selection(id="a"))

    def make_anew() -> None:
        store.delete("pets")
        taught(store, lesson("e"), lesson("f", "dog"))

    monkeypatch.setattr(memories, "snapshot", snapshot_and_write)
    for changes in ([teach], [lambda: None, make_anew]):
        verified = asyncio.run(memories.verify("pets"))
        assert (verified.revision, verified.equal) == (store.memory("pets").revision, True)
        assert not changes


def test_verifying_tells_a_copy_that_holds_something_else(memories: Memories) -> None:
    taught(memories.store, lesson("a"), lesson("b", "dog"))
    with memories.state("pets") as state:
        state.content.relabel("a", "dog")
    assert not asyncio.run(memories.verify("pets")).equal


@pytest.mark.parametrize("way", ["forgotten", "deleted"])
def test_what_is_forgotten_while_a_reader_sees_it_is_logged_and_erased_later(
    tmp_path: Path, memories: Memories, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    monkeypatch.setattr("service.memories.stores.sqlite.BUSY_SECONDS", 0.01)
    monkeypatch.setattr("service.memories.stores.sqlite.RETRY_SECONDS", 0.01)
    caplog.set_level(logging.INFO, "service.memories.audit")
    taught(memories.store, lesson("a"), lesson("b"))

    async def change() -> None:
        if way == "deleted":
            await memories.delete("pets", None, "Ada")
        else:
            await memories.forget("pets", Selection(id="a"), None, "Ada")

    with closing(sqlite3.connect(tmp_path / "memories.sqlite", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT COUNT(*) FROM examples").fetchall()
        with pytest.raises(NotErased, match="erased once that reader is done"):
            asyncio.run(change())
        log = tmp_path / "memories.sqlite-wal"
        assert log.stat().st_size
    wait_for(lambda: not log.stat().st_size, "the log to be emptied without another request")
    if way == "deleted":
        assert memories.store.memories() == []
        assert caplog.messages == ["Ada deleted memory pets"]
    else:
        revision = memories.store.memory("pets").revision
        assert caplog.messages == [f"Ada had memory pets forget 1 example, of id 'a' (revision {revision})"]
