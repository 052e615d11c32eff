"""Every store keeps the same laws."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings

from service.errors import (
    DeadlineExceeded,
    ExampleNotFound,
    MemoryConflict,
    MemoryFull,
    MemoryNotFound,
    RequestUnderWay,
    RevisionNotReached,
    StaleRevision,
    StoreUnavailable,
)
from service.memories.answering.index import MemoryIndex, WouldWait
from service.memories.records import ABSENT, PRESENT, Binding, Claim, Options, Quotas, Selection
from service.memories.stores.opening import open_store
from service.memories.stores.store import CLAIM_SECONDS, MemoryStore
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


@pytest.fixture(params=["sqlite", "postgres"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The place of a store."""
    return str(tmp_path / "memories.sqlite3") if request.param == "sqlite" else request.getfixturevalue("database")


@pytest.fixture
def store(where: str) -> Iterator[MemoryStore]:
    yield from emptied(where)


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemoryStore]:
    folder = tmp_path_factory.mktemp("store")
    yield from emptied(
        folder / "memories.sqlite3" if request.param == "sqlite" else request.getfixturevalue("database")
    )


def emptied(where: Path | str) -> Iterator[MemoryStore]:
    store = open_store(str(where))
    for memory in store.memories():
        store.delete(memory.name)
    yield store
    store.close()


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
        store.teach("pets", lessons, BINDING.fingerprint, QUOTAS, until=now - 1)
    assert store.memory("pets") == before
    assert store.example("pets", "a").label == "cat"
    _, outcomes = store.teach("pets", lessons, BINDING.fingerprint, QUOTAS, until=now + 1000)
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
    assert store.teach("pets", [lesson("a")], BINDING.fingerprint, QUOTAS) == (revision, ["unchanged"])
    later, outcomes = store.teach("pets", [lesson("a", "dog"), lesson("b")], BINDING.fingerprint, QUOTAS)
    assert later > revision
    assert outcomes == ["replaced", "created"]
    assert store.described("pets")[1] == {"cat": 1, "dog": 1}


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
    _, outcomes = store.teach("pets", lessons, BINDING.fingerprint, quotas)
    assert outcomes[:2] == ["created", "created"]
    assert [type(each) for each in outcomes[2:]] == [MemoryFull, MemoryFull]
    _, outcomes = store.teach("pets", [lesson("e", "ant"), lesson("f", "ant")], BINDING.fingerprint, quotas)
    assert isinstance(outcomes[1], MemoryFull)
    assert "3 examples" in str(outcomes[1])
    with pytest.raises(MemoryFull):
        store.correct("pets", "a", "cat", quotas)
    assert store.memory("pets").examples == 3
    store.forget("pets", Selection(label="bee"))
    assert store.correct("pets", "a", "cat", quotas) == store.memory("pets").revision


def test_a_stale_revision_is_refused_by_every_change(store: MemoryStore) -> None:
    taught(store, lesson("a"))
    stale = store.memory("pets").revision
    store.teach("pets", [lesson("b")], BINDING.fingerprint, QUOTAS, stale)
    changes = (
        lambda: store.teach("pets", [lesson("c")], BINDING.fingerprint, QUOTAS, stale),
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
        for expected in (1, PRESENT):
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
    revision = store.memory("pets").revision
    start, outcomes = threading.Barrier(8), []

    def write(number: int) -> None:
        start.wait()
        try:
            store.teach("pets", [lesson(f"w{number}")], BINDING.fingerprint, QUOTAS, revision)
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


def test_an_index_follows_every_change_of_others(store: MemoryStore) -> None:
    taught(store, lesson("a"), lesson("b", "dog"), lesson("c", "dog"))
    index = MemoryIndex(store, "pets")

    def contents() -> dict[str, str]:
        with index.state() as state:
            return {each: state.content.label_of(each) for each in state.content.ids()}

    assert contents() == {"a": "cat", "b": "dog", "c": "dog"}
    store.forget("pets", Selection(id="a"))
    store.teach("pets", [lesson("d", "eel")], BINDING.fingerprint, QUOTAS)  # as many as before
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
    store.teach("pets", [lesson("b", "dog")], BINDING.fingerprint, QUOTAS)
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
        store.teach("pets", [lesson("c")], BINDING.fingerprint, QUOTAS)


def claim(token: str = "t", key: str = "k", digest: str = "d") -> Claim:
    return Claim("pets", key, digest, token)


def at(monkeypatch: pytest.MonkeyPatch, now: float) -> None:
    """Have the stores take it for this time."""
    monkeypatch.setattr("service.memories.stores.sql.time", SimpleNamespace(time=lambda: now))


def test_answers_are_kept_by_key_and_request(store: MemoryStore) -> None:
    with pytest.raises(MemoryNotFound):
        store.claim_answer(claim())
    taught(store)
    assert store.claim_answer(claim()) is None
    store.keep_answer(claim("other"), "not by this claim")
    store.keep_answer(claim(), "first")
    store.keep_answer(claim(), "second")
    assert store.claim_answer(claim("again")) == "first"
    assert store.claim_answer(claim(key="l")) is None
    with pytest.raises(MemoryConflict):
        store.claim_answer(claim(digest="other"))
    store.delete("pets")
    store.keep_answer(claim(key="l"), "of a memory that is gone")
    assert taught(store).claim_answer(claim(key="l")) is None


def test_an_answer_is_claimed_while_it_is_made(store: MemoryStore) -> None:
    taught(store)
    assert store.claim_answer(claim()) is None
    with pytest.raises(RequestUnderWay):
        store.claim_answer(claim("second"))
    with pytest.raises(MemoryConflict):
        store.claim_answer(claim("second", digest="other"))
    store.drop_claim(claim("second"))
    with pytest.raises(RequestUnderWay):
        store.claim_answer(claim("second"))
    store.drop_claim(claim())
    assert store.claim_answer(claim("second")) is None


def test_of_claims_to_an_answer_one_holds(store: MemoryStore) -> None:
    taught(store)
    start, outcomes = threading.Barrier(8), []

    def ask(number: int) -> None:
        start.wait()
        try:
            outcomes.append(store.claim_answer(claim(str(number))))
        except RequestUnderWay:
            outcomes.append("under way")

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count(None) == 1
    assert outcomes.count("under way") == 7


def test_a_claim_that_is_not_renewed_expires(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    taught(store)
    at(monkeypatch, 1000.0)
    assert store.claim_answer(claim()) is None
    at(monkeypatch, 1000.0 + CLAIM_SECONDS - 1)
    store.renew_claim(claim())
    at(monkeypatch, 1000.0 + CLAIM_SECONDS + 1)
    with pytest.raises(RequestUnderWay):
        store.claim_answer(claim("second"))
    at(monkeypatch, 1000.0 + 2 * CLAIM_SECONDS)
    assert store.claim_answer(claim("second")) is None
    store.renew_claim(claim())  # too late, as is the answer
    store.keep_answer(claim(), "first")
    with pytest.raises(RequestUnderWay):
        store.claim_answer(claim("third"))


def test_an_answer_expires_after_a_day(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    taught(store)
    at(monkeypatch, 1000.0)
    for key in "kl":
        assert store.claim_answer(claim(key=key)) is None
        store.keep_answer(claim(key=key), "first")
    at(monkeypatch, 1000.0 + 86_399)
    assert store.claim_answer(claim("second")) == "first"
    at(monkeypatch, 1000.0 + 86_401)
    assert store.claim_answer(claim("second", digest="another request")) is None
    at(monkeypatch, 1000.0)
    assert store.claim_answer(claim("second", key="l")) is None  # whatever had expired was removed


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
