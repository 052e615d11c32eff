"""What PostgreSQL does otherwise: it tells other processes, erases a moment later, and may be cut off."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import psycopg
import pytest

from service.errors import StoreUnavailable
from service.memories.answering.index import MemoryIndex
from service.memories.records import Selection
from service.memories.stores.opening import open_store
from service.memories.stores.postgres import PostgresStore
from service.settings import SettingsError
from tests.support.memory_histories import BINDING, QUOTAS, lesson, taught
from tests.support.postgres_server import PostgresServer, running_postgres
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with running_postgres() as server:
        yield server


@pytest.fixture
def store(server: PostgresServer) -> Iterator[PostgresStore]:
    store = PostgresStore(server.url)
    for memory in store.memories():
        store.delete(memory.name)
    yield store
    store.close()


def test_another_process_hears_of_a_write(server: PostgresServer, store: PostgresStore) -> None:
    taught(store, lesson("a"))
    other = PostgresStore(server.url)
    index = MemoryIndex(other, "pets")
    with index.state() as state:
        assert state.content.ids() == ["a"]
    store.teach("pets", [lesson("b")], BINDING.fingerprint, QUOTAS)
    revision = store.memory("pets").revision
    with index.state(revision) as state:  # at once, for one who asks for it
        assert state.content.ids() == ["a", "b"]
    before = other.token()
    store.forget("pets", Selection(id="a"))
    wait_for(lambda: other.token() != before, "the notice of a write")
    with index.state() as state:
        assert state.content.ids() == ["b"]
    other.close()


def test_nothing_of_a_forgotten_example_is_in_the_tables_once_it_is_erased(
    server: PostgresServer, store: PostgresStore
) -> None:
    image = b"an image that nobody may ever find again" * 200
    secret = lesson("secret", image=image, thumbnail=image[:300])
    taught(store, lesson("a"), secret)
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
    store.forget("pets", Selection(id="secret"))
    wait_for(store.erased, "what was forgotten to be erased")
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
    files = b"".join(path.read_bytes() for path in (server.data / "base").rglob("*") if path.is_file())
    assert secret.key not in files
    assert image[:60] not in files
    assert lesson("a").key in files


def test_a_connection_that_was_cut_is_made_again(server: PostgresServer, store: PostgresStore) -> None:
    taught(store, lesson("a"))
    before = store.token()
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    with pytest.raises(StoreUnavailable):
        store.memory("pets")
    assert store.memory("pets").examples == 1
    wait_for(lambda: store.token() != before, "the listener to take what it missed for a write")


def test_a_database_that_is_not_there_is_said() -> None:
    store = open_store("postgresql://127.0.0.1:1/none")
    with pytest.raises(StoreUnavailable):
        store.memories()
    store.close()


def test_what_it_needs_is_said_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.delitem(sys.modules, "service.memories.stores.postgres")
    with pytest.raises(SettingsError, match="pip install"):
        open_store("postgresql://127.0.0.1/memories")
