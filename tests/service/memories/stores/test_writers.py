"""Of changes to a store that exclude each other, one wins."""

from __future__ import annotations

import threading

import pytest

from service.errors import (
    StaleRevision,
    StoreUnavailable,
)
from service.memories.records import ABSENT, PRESENT, Options, Selection
from service.memories.stores.store import MemoryStore
from tests.support.stress.memory_histories import (
    BINDING,
    QUOTAS,
    lesson,
    taught,
)


def test_a_stale_revision_is_refused_by_every_change(store: MemoryStore) -> None:
    taught(store, lesson("a"))
    stale = store.memory("pets").revision
    store.teach(store.memory("pets"), [lesson("b")], QUOTAS, stale)
    changes = (
        lambda: store.teach(store.memory("pets"), [lesson("c")], QUOTAS, stale),
        lambda: store.correct("pets", "a", "dog", QUOTAS, stale),
        lambda: store.forget("pets", Selection(id="a"), stale),
        lambda: store.delete("pets", stale),
        lambda: store.replace("pets", Options(), BINDING, [], QUOTAS, stale),
        lambda: store.rebind("pets", BINDING, {}, stale),
        lambda: store.create("pets", Options(), BINDING, QUOTAS, ABSENT),
        lambda: store.replace("pets", Options(), BINDING, [], QUOTAS, ABSENT),
    )
    for change in changes:
        with pytest.raises(StaleRevision):
            change()
    assert store.memory("pets").examples == 2


def test_only_a_memory_that_is_not_expected_can_be_made(store: MemoryStore) -> None:
    for make in (
        lambda expected: store.create("pets", Options(), BINDING, QUOTAS, expected),
        lambda expected: store.replace("pets", Options(), BINDING, [lesson("a")], QUOTAS, expected),
    ):
        for expected in (0, 1, PRESENT):
            with pytest.raises(StaleRevision):
                make(expected)
        made, new = make(ABSENT)
        assert new
        assert store.memories() == [made]
        assert not make(PRESENT)[1]
        store.delete("pets")


def test_of_makers_of_a_memory_one_wins(store: MemoryStore) -> None:
    start, outcomes = threading.Barrier(8), []

    def make(number: int) -> None:
        start.wait()
        try:
            store.replace("pets", Options(), BINDING, [lesson(f"w{number}")], QUOTAS, ABSENT)
            outcomes.append(f"w{number}")
        except (StaleRevision, StoreUnavailable):  # a client asks again after the second, and is told the first
            outcomes.append("")

    threads = [threading.Thread(target=make, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = filter(None, outcomes)
    assert [each.id for each in store.examples("pets", None, "", 9)] == [winner]


def test_of_writers_with_the_same_revision_one_wins(store: MemoryStore) -> None:
    taught(store, lesson("a"))
    memory = store.memory("pets")
    revision = memory.revision
    start, outcomes = threading.Barrier(8), []

    def write(number: int) -> None:
        start.wait()
        try:
            store.teach(memory, [lesson(f"w{number}")], QUOTAS, revision)
            outcomes.append("written")
        except StaleRevision:
            outcomes.append("stale")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["stale"] * 7 + ["written"]
    assert store.memory("pets").examples == 2


def test_revisions_grow_over_all_memories_and_outlive_them(store: MemoryStore) -> None:
    taught(store, lesson("a"))
    first = store.memory("pets").revision
    other = taught(store, name="tools").memory("tools").revision
    store.delete("pets")
    again = taught(store).memory("pets").revision
    assert first < other < again
