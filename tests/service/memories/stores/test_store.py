"""Every store keeps the same laws."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings

from service.errors import (
    DeadlineExceeded,
    ExampleNotFound,
    MemoryConflict,
    MemoryFull,
    MemoryNotFound,
)
from service.memories.records import Binding, Options, Quotas, Selection
from service.memories.stores.opening import open_store
from service.memories.stores.store import MemoryStore
from tests.support.processes.waiting import wait_for
from tests.support.stress.memory_histories import (
    BINDING,
    DIM,
    QUOTAS,
    READOUTS,
    STEPS,
    Step,
    check_history,
    lesson,
    taught,
)

ROOMY = Quotas(100_000, 1000, 20, 10_000_000)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(steps=STEPS, readout=READOUTS)
def test_a_history_with_forgetting_is_one_without_what_was_forgotten(
    shared: MemoryStore, steps: list[Step], readout: str
) -> None:
    check_history(shared, steps, readout)


def test_nothing_is_stored_for_one_who_waits_no_more(store: MemoryStore) -> None:
    taught(store, lesson("a"))
    before, now = store.memory("pets"), time.monotonic()
    lessons = [lesson("a", "dog"), lesson("b")]
    with pytest.raises(DeadlineExceeded):
        store.teach(store.memory("pets"), lessons, QUOTAS, until=now - 1)
    assert store.memory("pets") == before
    assert store.example("pets", "a").label == "cat"
    _, outcomes = store.teach(store.memory("pets"), lessons, QUOTAS, until=now + 1000)
    assert outcomes == ["replaced", "created"]


def test_creating_is_idempotent_and_conflicts_with_other_options(store: MemoryStore) -> None:
    memory, new = store.create("pets", Options(), BINDING, QUOTAS)
    assert new
    assert store.create("pets", Options(), BINDING, QUOTAS) == (memory, False)
    with pytest.raises(
        MemoryConflict, match=r"with readout ridge in place of hopfield, unknown_level 0.05 in place of 0.1"
    ):
        store.create("pets", Options(readout="hopfield", unknown_level=0.1), BINDING, QUOTAS)
    with pytest.raises(MemoryConflict, match="with other weights of its model"):
        store.create("pets", Options(), Binding("colours", "0" * 64, DIM), QUOTAS)
    with pytest.raises(MemoryConflict, match="with model colours"):
        store.create("pets", Options(), Binding("shapes", "0" * 64, DIM), QUOTAS)
    assert store.memories() == [memory]


def test_a_new_memory_begins_with_examples_or_is_not_made(store: MemoryStore) -> None:
    lessons = [lesson("a"), lesson("b", "dog")]
    made, new = store.create("pets", Options(), BINDING, QUOTAS, None, lessons)
    assert (made.examples, new, store.described("pets")) == (2, True, (made, {"cat": 1, "dog": 1}))
    store.forget("pets", Selection(id="a"))
    assert store.create("pets", Options(), BINDING, QUOTAS, None, lessons)[0].examples == 1
    with pytest.raises(MemoryFull):
        store.create("more", Options(), BINDING, Quotas(memories=2, examples=1, labels=2, bytes=1000), None, lessons)
    assert [each.name for each in store.memories()] == ["pets"]


def test_what_is_not_there_is_said(store: MemoryStore) -> None:
    for ask in (store.memory, store.described, store.changes, store.delete):
        with pytest.raises(MemoryNotFound):
            ask("pets")
    taught(store)
    with pytest.raises(ExampleNotFound):
        store.example("pets", "a")
    with pytest.raises(ExampleNotFound):
        store.correct("pets", "a", "cat", QUOTAS)
    with pytest.raises(ExampleNotFound):
        store.forget("pets", Selection(label="cat"))


def test_teaching_the_same_again_changes_nothing(store: MemoryStore) -> None:
    taught(store, lesson("a"))
    revision = store.memory("pets").revision
    assert store.teach(store.memory("pets"), [lesson("a")], QUOTAS) == (revision, ["unchanged"])
    later, outcomes = store.teach(store.memory("pets"), [lesson("a", "dog"), lesson("b")], QUOTAS)
    assert later > revision
    assert outcomes == ["replaced", "created"]
    assert store.described("pets")[1] == {"cat": 1, "dog": 1}


def test_names_that_nothing_can_have_are_not_there(store: MemoryStore) -> None:
    taught(store, lesson("a", source="camera"))
    for name in ("\0", "pets\0"):
        with pytest.raises(MemoryNotFound):
            store.memory(name)
    for which in (Selection(id="a\0"), Selection(label="cat\0"), Selection(source="camera\0")):
        assert store.examples("pets", which, "", 9) == []
        with pytest.raises(ExampleNotFound):
            store.forget("pets", which)
    assert [each.id for each in store.examples("pets", None, "\0", 9)] == ["a"]
    assert store.examples("pets", None, "a\0", 9) == []


def test_images_are_kept_and_given_back(store: MemoryStore) -> None:
    taught(store, lesson("a", thumbnail=b"small", image=b"large", source="camera"), lesson("b", thumbnail=b"tiny"))
    taught(store, lesson("c"))
    assert [each.keeps for each in store.examples("pets", None, "", 10)] == ["image", "thumbnail", "nothing"]
    assert [each.id for each in store.examples("pets", Selection(source="camera"), "", 10)] == ["a"]
    assert [each.id for each in store.examples("pets", None, "a", 1)] == ["b"]
    assert store.image("pets", "a", whole=True) == b"large"
    assert store.image("pets", "b", whole=False) == b"tiny"
    with pytest.raises(ExampleNotFound, match="no image is kept"):
        store.image("pets", "b", whole=True)
    assert store.memory("pets").bytes == 3 * 2 * DIM + len(b"smalllargetiny")


def test_what_was_made_for_one_memory_is_not_stored_in_another_of_its_name(store: MemoryStore) -> None:
    """Many images are still being taught when somebody deletes the memory, and makes one that keeps nothing."""
    old = taught(store, lesson("a"), keep="image").memory("pets")
    store.delete("pets")
    taught(store, lesson("b"), keep="nothing")
    centred = replace(BINDING, centre=bytes(8 * DIM))
    for made_anew in (
        lambda: store.memory("pets"),
        lambda: store.replace("pets", Options(keep="image"), BINDING, [lesson("b")], QUOTAS)[0],
        lambda: store.replace("pets", Options(keep="image"), centred, [lesson("b")], QUOTAS)[0],
        lambda: store.replace("pets", Options(keep="nothing"), centred, [lesson("b")], QUOTAS)[0],
    ):
        new = made_anew()
        with pytest.raises(MemoryConflict, match="meanwhile"):
            store.teach(old, [lesson("c", image=b"not to be kept")], QUOTAS)
        assert [each.id for each in store.examples("pets", None, "", 9)] == ["b"]
        old = new
    assert store.teach(old, [lesson("c")], QUOTAS)[1] == ["created"]


def test_lessons_are_given_back_as_they_were(store: MemoryStore) -> None:
    kept = {"thumbnail": b"small", "image": b"whole", "taught": 1_700_000_000.25}
    lessons = [
        replace(lesson("a"), sha256="0" * 64, source="camera", teacher="key", **kept),
        lesson("b", "dog", taught=7.0),
    ]
    taught(store, *lessons)
    assert sorted(store.lessons("pets", images=True), key=lambda each: each.id) == lessons
    bare = [replace(each, thumbnail=None, image=None) for each in lessons]
    assert sorted(store.lessons("pets", images=False), key=lambda each: each.id) == bare
    with pytest.raises(MemoryNotFound):
        store.lessons("nothing", images=True)


def test_limits_are_held_example_by_example(store: MemoryStore) -> None:
    quotas = Quotas(memories=1, examples=3, labels=2, bytes=1000)
    store.create("pets", Options(), BINDING, quotas)
    with pytest.raises(MemoryFull):
        store.create("more", Options(), BINDING, quotas)
    lessons = [lesson("a", "ant"), lesson("b", "bee"), lesson("c", "cat"), lesson("d", "ant", image=b"x" * 1000)]
    _, outcomes = store.teach(store.memory("pets"), lessons, quotas)
    assert outcomes[:2] == ["created", "created"]
    assert [type(each) for each in outcomes[2:]] == [MemoryFull, MemoryFull]
    _, outcomes = store.teach(store.memory("pets"), [lesson("e", "ant"), lesson("f", "ant")], quotas)
    assert isinstance(outcomes[1], MemoryFull)
    assert "3 examples" in str(outcomes[1])
    with pytest.raises(MemoryFull):
        store.correct("pets", "a", "cat", quotas)
    assert store.memory("pets").examples == 3
    store.forget("pets", Selection(label="bee"))
    revision, example = store.correct("pets", "a", "cat", quotas)
    assert (revision, example) == (store.memory("pets").revision, store.example("pets", "a"))


def test_what_was_forgotten_is_erased_whichever_process_is_asked(store: MemoryStore, where: str) -> None:
    taught(store, lesson("a"), lesson("b"))
    store.forget("pets", Selection(id="a"))
    other = open_store(where)
    wait_for(other.erased, "another process to know of it")
    assert store.erased()
    other.close()


def test_the_same_file_under_several_ids_is_found(store: MemoryStore) -> None:
    taught(store, lesson("a", sha256="1"), lesson("b", sha256="1"), lesson("c", sha256="2"), lesson("d", sha256=""))
    assert store.duplicates("pets", 10) == [["a", "b"]]
