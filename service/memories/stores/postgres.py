"""Memories in PostgreSQL, for server processes of several machines.

Revisions come from a sequence, and every write notifies the other processes. Forgetting starts a `VACUUM FULL` of the
tables, after which the keys and images stand in none of their files. Until then the database says so, by a row that
forgetting writes into `erasures`: whichever process finds one there starts the `VACUUM FULL`. The database's log and
its backups are up to those who run it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg

from service.errors import StoreUnavailable
from service.memories.stores.rows import Transaction
from service.memories.stores.schema import MIGRATIONS, migrate
from service.memories.stores.sql import SqlStore

logger = logging.getLogger(__name__)

CONNECT_SECONDS: Final = 5
RETRY_SECONDS: Final = 1.0  # between attempts to listen again, and between the first ones to erase
LONGEST_RETRY_SECONDS: Final = 10.0  # between attempts to erase, which get rarer
LOCK_SECONDS: Final = 2.0  # that erasing waits for those who read a table: all others wait behind it
LISTEN_SECONDS: Final = 0.5  # between looks whether the store has been closed

_CHANNEL: Final = "ait_memories"
_MIGRATION_LOCK: Final = 4_715_001  # of one store; any number that nobody else uses
_ERASURE_LOCK: Final = 4_715_002
_ERASURES: Final = "CREATE TABLE erasures (asked TIMESTAMPTZ NOT NULL DEFAULT now())"
_ASK_TO_ERASE: Final = "INSERT INTO erasures DEFAULT VALUES"
_TO_ERASE: Final = "SELECT EXISTS (SELECT 1 FROM erasures)"
# The first one is small, and shows at little cost whether the others can be erased yet.
_REWRITTEN: Final = ("erasures", "images", "examples")
_WORDS = {"number": "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "real": "DOUBLE PRECISION", "bytes": "BYTEA"}


class PostgresStore(SqlStore):
    """A store in a database, whose tables are made when it is first used."""

    _locking = " FOR UPDATE"

    def __init__(self, url: str) -> None:
        """Take the address of the database; nothing is connected yet."""
        self._url = url
        self._local = threading.local()
        self._lock = threading.Lock()
        self._connections: list[psycopg.Connection] = []
        self._closed = threading.Event()
        self._listener: threading.Thread | None = None
        self._written = self._heard = 0
        self._to_erase = False
        self._vacuum: threading.Thread | None = None

    def erased(self) -> bool:
        with self._reading() as run:
            ((pending,),) = run.rows(_TO_ERASE)
        if pending:
            self._start_vacuum()
        return not pending

    def token(self) -> Hashable:
        with self._lock:
            if self._listener is None:
                self._listener = threading.Thread(target=self._listen, name="memories-listen", daemon=True)
                self._listener.start()
            return self._written, self._heard

    def close(self) -> None:
        self._closed.set()
        for thread in (self._listener, self._vacuum):
            if thread is not None:
                thread.join()
        for connection in self._connections:
            connection.close()

    @contextmanager
    def _reading(self) -> Iterator[Transaction]:
        with self._transaction("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY") as run:
            yield run

    @contextmanager
    def _writing(self) -> Iterator[Transaction]:
        with self._transaction("BEGIN") as run:
            yield run
            run.change(f"NOTIFY {_CHANNEL}")
        with self._lock:
            self._written += 1

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[_Transaction]:
        with _answering():
            connection = self._connection()
            connection.execute(begin.encode())
            try:
                yield _Transaction(connection)
            except BaseException:
                if not connection.closed:
                    connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def _must_erase(self, run: Transaction) -> None:
        run.change(_ASK_TO_ERASE)

    def _erase(self) -> None:
        self._start_vacuum()

    def _start_vacuum(self) -> None:
        with self._lock:
            self._to_erase = True
            if self._vacuum is None or not self._vacuum.is_alive():
                self._vacuum = threading.Thread(target=self._erase_all, name="memories-erase", daemon=True)
                self._vacuum.start()

    def _erase_all(self) -> None:
        """Rewrite the tables until everything that any process has forgotten is in no file of theirs."""
        pause = RETRY_SECONDS
        while not self._closed.is_set():
            with self._lock:
                if not self._to_erase:
                    self._vacuum = None  # whatever is forgotten from here on starts another thread
                    return
                self._to_erase = False
            try:
                with self._connect() as connection:
                    done = self._rewrite(connection)
            except psycopg.Error as error:
                logger.error("what was forgotten is not erased yet: %s", error)
                done = False
            if not done:
                with self._lock:
                    self._to_erase = True
                self._closed.wait(pause)
                pause = min(2 * pause, LONGEST_RETRY_SECONDS)

    def _rewrite(self, connection: psycopg.Connection) -> bool:
        """Rewrite the tables without what was forgotten, and note that; return False where it takes another attempt.

        A rewritten table still holds what a transaction has deleted while another one, whatever tables it reads, sees
        the state before. It holds nothing of transactions before its `relfrozenxid`, to which `xmin` is compared, the
        transaction that wrote a row of `erasures`.
        """
        connection.execute(f"SET lock_timeout = '{LOCK_SECONDS}s'".encode())
        # Nobody waits here: a statement that waits would be one of the transactions that keep what was deleted.
        if connection.execute("SELECT pg_try_advisory_lock(%s)", (_ERASURE_LOCK,)).fetchone() != (True,):
            return False  # another process is at it
        newest = "SELECT xmin::text FROM erasures ORDER BY age(xmin) LIMIT 1"
        while not self._closed.is_set() and (row := connection.execute(newest.encode()).fetchone()):
            for table in _REWRITTEN:
                connection.execute(f"VACUUM (FULL) {table}".encode())
                older = "SELECT age(%s::xid) > age(relfrozenxid) FROM pg_class WHERE oid = %s::regclass"
                if connection.execute(older, (*row, table)).fetchone() != (True,):
                    logger.info("what was forgotten is not erased yet: an older transaction still sees it")
                    return False
            connection.execute("DELETE FROM erasures WHERE age(xmin) >= age(%s::xid)", row)
        return True

    def _listen(self) -> None:
        """Count what other processes write; after an interruption, as if they had written."""
        while not self._closed.is_set():
            try:
                with self._connect() as connection:
                    connection.execute(f"LISTEN {_CHANNEL}".encode())
                    self._hear()
                    while not self._closed.is_set():
                        for _ in connection.notifies(timeout=LISTEN_SECONDS, stop_after=1):
                            self._hear()
            except psycopg.Error as error:
                self._hear()
                logger.warning("the store of the memories does not answer: %s", error)
                self._closed.wait(RETRY_SECONDS)

    def _hear(self) -> None:
        with self._lock:
            self._heard += 1

    def _connection(self) -> psycopg.Connection:
        """Get the calling thread's own connection, another one if it has been cut."""
        connection: psycopg.Connection | None = getattr(self._local, "connection", None)
        if connection is None or connection.closed:
            connection = self._connect()
            try:
                _migrate(connection)
            except BaseException:
                connection.close()
                raise
            if connection.execute(_TO_ERASE).fetchone() == (True,):  # left by a process that was killed
                self._start_vacuum()
            self._local.connection = connection
            with self._lock:
                self._connections = [each for each in self._connections if not each.closed] + [connection]
        return connection

    def _connect(self) -> psycopg.Connection:
        connection = psycopg.connect(self._url, autocommit=True, connect_timeout=CONNECT_SECONDS)
        connection.execute("SET synchronous_commit = on")
        return connection


class _Transaction:
    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._run(statement, values).fetchall()

    def change(self, statement: str, *values: Any) -> int:
        return self._run(statement, values).rowcount

    def next_revision(self) -> int:
        ((revision,),) = self.rows("SELECT nextval('revisions')")
        return int(revision)

    def _run(self, statement: str, values: tuple[Any, ...]) -> psycopg.Cursor:
        # A client may ask for a name with NUL in it, which PostgreSQL takes in no text. Nothing that is stored has
        # control characters, so that one which it takes finds the same: nothing.
        values = tuple(each.replace("\0", "\1") if isinstance(each, str) else each for each in values)
        return self._connection.execute(statement.replace("?", "%s").encode(), values)


def _migrate(connection: psycopg.Connection) -> None:
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MIGRATION_LOCK,))
        connection.execute("CREATE TABLE IF NOT EXISTS store_version (version INTEGER NOT NULL)")
        row = connection.execute("SELECT version FROM store_version").fetchone()
        version = row[0] if row else 0
        if version == len(MIGRATIONS):
            return
        if version > len(MIGRATIONS):
            raise StoreUnavailable(
                f"The store of the memories has version {version}; this server knows versions up to "
                f"{len(MIGRATIONS)}. Upgrade the server."
            )
        if version == 0:
            connection.execute("CREATE SEQUENCE revisions")
        if version <= 1:
            connection.execute(_ERASURES.encode())
        if version == 1:  # which did not say what had been forgotten and not erased
            connection.execute(_ASK_TO_ERASE.encode())
        version = migrate(version, MIGRATIONS, lambda statement: connection.execute(statement.encode()), **_WORDS)
        connection.execute("DELETE FROM store_version")
        connection.execute("INSERT INTO store_version VALUES (%s)", (version,))


@contextmanager
def _answering() -> Iterator[None]:
    """Say in the store's words what the database refuses."""
    try:
        yield
    except psycopg.Error as error:
        logger.warning("the store of the memories failed: %s", error)
        raise StoreUnavailable("The store of the memories does not answer, or is busy. Try again.") from error
