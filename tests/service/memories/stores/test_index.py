"""A copy of a memory in a process follows its store."""

from __future__ import annotations

import pytest

from service.errors import (
    MemoryConflict,
    MemoryNotFound,
    RevisionNotReached,
)
from service.memories.answering.index import MemoryIndex, WouldWait
from service.memories.records import Binding, Options, Selection
from service.memories.stores.store import MemoryStore
from tests.support.stress.memory_histories import (
    BINDING,
    DIM,
    QUOTAS,
    lesson,
    taught,
)


def test_an_index_follows_every_change_of_others(store: MemoryStore) -> None:
    taught(store, lesson("a"), lesson("b", "dog"), lesson("c", "dog"))
    index = MemoryIndex(store, "pets")

    def contents() -> dict[str, str]:
        with index.state() as state:
            return {each: state.content.label_of(each) for each in state.content.ids()}

    assert contents() == {"a": "cat", "b": "dog", "c": "dog"}
    store.forget("pets", Selection(id="a"))
    store.teach(store.memory("pets"), [lesson("d", "eel")], QUOTAS)  # as many as before
    assert contents() == {"b": "dog", "c": "dog", "d": "eel"}
    store.correct("pets", "b", "eel", QUOTAS)
    assert contents() == {"b": "eel", "c": "dog", "d": "eel"}
    store.replace("pets", Options(), BINDING, [lesson("b", "ant", seed=3), lesson("x", "ant")], QUOTAS)
    assert contents() == {"b": "ant", "x": "ant"}
    store.delete("pets")
    with pytest.raises(MemoryNotFound):
        contents()
    taught(store, lesson("y"), beta=3.0)
    assert contents() == {"y": "cat"}
    with pytest.raises(RevisionNotReached), index.state(store.memory("pets").revision + 1):
        pass


def test_an_index_that_may_not_wait_gives_up_instead(store: MemoryStore) -> None:
    taught(store, lesson("a"))
    index = MemoryIndex(store, "pets")

    def examples_at_once() -> int | None:
        try:
            with index.state(wait=False) as state:
                return len(state.content)
        except WouldWait:
            return None

    def read() -> int | None:
        with index.state() as state:
            assert examples_at_once() is None  # others hold it
            return len(state.content)

    assert examples_at_once() is None  # nothing has been read
    assert read() == 1
    while examples_at_once() is None:  # what the database tells of the store's own change may still come
        read()
    store.teach(store.memory("pets"), [lesson("b", "dog")], QUOTAS)
    assert examples_at_once() is None
    assert read() == 2
    while (found := examples_at_once()) is None:
        read()
    assert found == 2
    with pytest.raises(WouldWait), index.state(store.memory("pets").revision + 1, wait=False):
        pass


def test_rebinding_gives_every_example_its_new_key(store: MemoryStore) -> None:
    taught(store, lesson("a"), lesson("b", "dog"))
    index = MemoryIndex(store, "pets")
    with index.state():
        pass
    wide = Binding("others", "e" * 64, 2 * DIM)
    keys = {"a": b"\x00\x40" + bytes(4 * DIM - 2), "b": bytes(4 * DIM - 2) + b"\x00\x40"}
    before = store.memory("pets")
    memory = store.rebind("pets", wide, keys, before.revision)
    assert (memory.binding, memory.examples, memory.bytes) == (wide, 2, before.bytes + 4 * DIM)
    with index.state(memory.revision) as state:
        assert state.content.dim == 2 * DIM
        assert state.content.labels == ("cat", "dog")
    with pytest.raises(MemoryConflict):
        store.teach(before, [lesson("c")], QUOTAS)
