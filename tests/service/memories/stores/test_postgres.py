"""What PostgreSQL does otherwise: it tells other processes, erases a moment later, and may be cut off."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from service.errors import StoreUnavailable
from service.memories.answering.index import MemoryIndex
from service.memories.records import Claim, Selection
from service.memories.stores.opening import open_store
from service.memories.stores.postgres import PostgresStore
from service.memories.stores.schema import MIGRATIONS
from service.settings import SettingsError
from tests.support.processes.waiting import wait_for
from tests.support.servers.postgres_server import PostgresServer, running_postgres
from tests.support.stress.memory_histories import QUOTAS, lesson, taught


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


def tables(server: PostgresServer) -> bytes:
    """All bytes of all tables."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
    return b"".join(path.read_bytes() for path in (server.data / "base").rglob("*") if path.is_file())


def pending(server: PostgresServer) -> bool:
    """Whether the database says that something is to be erased."""
    with psycopg.connect(server.url) as connection:
        return connection.execute("SELECT 1 FROM erasures").fetchone() is not None


def test_another_process_hears_of_a_write(server: PostgresServer, store: PostgresStore) -> None:
    taught(store, lesson("a"))
    other = PostgresStore(server.url)
    index = MemoryIndex(other, "pets")
    with index.state() as state:
        assert state.content.ids() == ["a"]
    store.teach(store.memory("pets"), [lesson("b")], QUOTAS)
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
    files = tables(server)
    assert secret.key not in files
    assert image[:60] not in files
    assert lesson("a").key in files


def test_what_a_killed_process_has_forgotten_is_erased_by_the_next_one(
    server: PostgresServer, store: PostgresStore
) -> None:
    secret = lesson("secret")
    taught(store, lesson("a"), secret)
    store.close()
    with psycopg.connect(server.url) as reader:
        reader.execute("SELECT COUNT(*) FROM images").fetchall()  # nobody can rewrite the table meanwhile
        script = (
            "import os, sys; from service.memories.stores.postgres import PostgresStore;"
            "from service.memories.records import Selection;"
            "PostgresStore(sys.argv[1]).forget('pets', Selection(id='secret')); os.kill(os.getpid(), 9)"
        )
        subprocess.run([sys.executable, "-c", script, server.url], cwd=Path(__file__).parents[4])
        assert pending(server)
    following = PostgresStore(server.url)
    assert following.memory("pets").examples == 1  # that opens it, which is enough
    wait_for(lambda: not pending(server), "what was forgotten to be erased")
    assert following.erased()
    assert secret.key not in tables(server)
    following.close()


def test_what_an_older_transaction_still_sees_is_not_called_erased(
    server: PostgresServer, store: PostgresStore
) -> None:
    secret = lesson("secret")
    taught(store, lesson("a"), secret)
    rewritten = "SELECT relfilenode FROM pg_class WHERE relname = 'erasures'"
    with psycopg.connect(server.url) as older, psycopg.connect(server.url, autocommit=True) as other:
        older.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        older.execute("SELECT 1")  # it sees examples as they are now, though it holds no table
        before = other.execute(rewritten).fetchone()
        store.forget("pets", Selection(id="secret"))
        wait_for(lambda: other.execute(rewritten).fetchone() != before, "an attempt to erase")
        assert not store.erased()
        another = PostgresStore(server.url)
        assert not another.erased()
        another.close()
        assert older.execute("SELECT COUNT(*) FROM examples WHERE id = 'secret'").fetchone() == (1,)
    wait_for(store.erased, "what was forgotten to be erased")
    assert secret.key not in tables(server)


def test_others_do_not_wait_for_a_reader_behind_what_erases(server: PostgresServer, store: PostgresStore) -> None:
    taught(store, lesson("a"), lesson("b"))
    waiting = "SELECT 1 FROM pg_locks WHERE relation = 'images'::regclass AND NOT granted"
    with ThreadPoolExecutor(1) as pool, psycopg.connect(server.url) as reader:
        reader.execute("SELECT COUNT(*) FROM images").fetchall()
        store.forget("pets", Selection(id="a"))
        wait_for(lambda: reader.execute(waiting).fetchone(), "what erases to wait for the reader")
        asked = pool.submit(store.example, "pets", "b")
        wait_for(asked.done, "an answer from the tables that are read")
        assert asked.result().id == "b"
    wait_for(store.erased, "what was forgotten to be erased")


def test_a_store_of_an_older_server_is_brought_up_to_date(server: PostgresServer, store: PostgresStore) -> None:
    secret = lesson("secret")
    taught(store, lesson("a"), secret)
    store.close()
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("DROP TABLE erasures, answers")
        connection.execute(MIGRATIONS[0][-1].format(real="DOUBLE PRECISION").encode())
        connection.execute("INSERT INTO answers SELECT number, 'k', 'd', 'of a forgotten example', 0 FROM memories")
        connection.execute("UPDATE store_version SET version = 1")
        connection.execute("DELETE FROM examples WHERE id = 'secret'")  # by a process that was killed then
    following = PostgresStore(server.url)
    assert following.claim_answer(Claim("pets", "k", "d", "t")) is None
    wait_for(following.erased, "what was forgotten to be erased")
    found = tables(server)
    assert lesson("a").key in found
    assert secret.key not in found
    assert b"of a forgotten example" not in found
    following.close()


def test_a_store_of_a_newer_server_is_left_alone(server: PostgresServer, store: PostgresStore) -> None:
    taught(store)
    newer, version = PostgresStore(server.url), "UPDATE store_version SET version = version + %s"
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(version, (1,))
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="Upgrade"):
                newer.memories()
        connection.execute(version, (-1,))
    newer.close()


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
