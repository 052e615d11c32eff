"""A store keeps answers to be repeated, for as long as it says."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from service.errors import (
    MemoryConflict,
    MemoryNotFound,
    RequestUnderWay,
)
from service.memories.records import Claim
from service.memories.stores.store import CLAIM_SECONDS, MemoryStore
from tests.support.stress.memory_histories import (
    taught,
)


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
