"""Memories in one SQLite file, for the server processes of one machine.

Commits are flushed to the disk (WAL, `synchronous=FULL`). Deleted content is overwritten with zeros (`secure_delete`),
and the log in which it still stands is emptied before forgetting returns.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Hashable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from service.errors import StoreUnavailable
from service.memories.stores.rows import Transaction
from service.memories.stores.schema import MIGRATIONS, migrate
from service.memories.stores.sql import SqlStore

BUSY_SECONDS: Final = 10.0  # that a writer waits for another, and emptying the log for readers and for others who do
EMPTYING_SECONDS: Final = 0.005  # until another one's emptying has probably ended
RETRY_SECONDS: Final = 1.0  # until a reader that kept the log from being emptied is looked for again

logger = logging.getLogger(__name__)

_WORDS = {"number": "INTEGER PRIMARY KEY AUTOINCREMENT", "real": "REAL", "bytes": "BLOB"}


class SqliteStore(SqlStore):
    """A store in a file, which is made when it is first written to."""

    def __init__(self, path: Path) -> None:
        """Take the path of the file."""
        self._path = path
        self._writer: sqlite3.Connection | None = None
        self._watcher: sqlite3.Connection | None = None
        self._write_lock, self._watch_lock = threading.Lock(), threading.Lock()
        self._local = threading.local()
        self._readers: list[sqlite3.Connection] = []
        self._closed = threading.Event()
        self._eraser: threading.Thread | None = None

    def erased(self) -> bool:
        if not self._path.exists():
            return True
        until = time.monotonic() + BUSY_SECONDS
        while not self._emptied():
            if time.monotonic() > until:
                return False
            time.sleep(EMPTYING_SECONDS)
        return True

    def token(self) -> Hashable:
        with self._watch_lock, _answering(self._path):
            if self._watcher is None:
                if not self._path.exists():
                    return 0
                self._watcher = _connect(self._path)
            return int(self._watcher.execute("PRAGMA data_version").fetchone()[0])

    def close(self) -> None:
        self._closed.set()
        if self._eraser is not None:
            self._eraser.join()
        for connection in (self._writer, self._watcher, *self._readers):
            if connection is not None:
                connection.close()

    @contextmanager
    def _reading(self) -> Iterator[Transaction]:
        with _answering(self._path):
            connection = self._reading_connection()
            connection.execute("BEGIN")
            try:
                yield _Transaction(connection)
            finally:
                connection.execute("ROLLBACK")

    @contextmanager
    def _writing(self) -> Iterator[Transaction]:
        with self._write_lock, _answering(self._path):
            connection = self._writing_connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield _Transaction(connection)
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def _emptied(self) -> bool:
        """Try to empty the log. SQLite waits for readers, but not for another process that is emptying it."""
        with self._write_lock, _answering(self._path):
            return _empty_log(self._writing_connection())

    def _erase(self) -> None:
        if not self.erased():
            self._start_eraser()
            raise StoreUnavailable(
                "It is forgotten, but a reader holds on to the log in which it still stands. It is erased once that "
                "reader is done; to verify a memory tells whether it is."
            )

    def _start_eraser(self) -> None:
        with self._write_lock:
            if self._eraser is None or not self._eraser.is_alive():
                self._eraser = threading.Thread(target=self._erase_later, name="memories-erase", daemon=True)
                self._eraser.start()

    def _erase_later(self) -> None:
        """Empty the log once no reader keeps it; on a connection that waits for none, as writers wait for it."""
        while not self._closed.wait(RETRY_SECONDS):
            try:
                with closing(sqlite3.connect(self._path, timeout=0)) as connection:
                    if _empty_log(connection):
                        return
            except sqlite3.Error as error:
                logger.error("what was forgotten is not erased yet: %s", error)

    def _reading_connection(self) -> sqlite3.Connection:
        """Get the calling thread's own connection; to an empty store while there is no file."""
        if not self._path.exists():
            return _migrated(sqlite3.connect(":memory:", isolation_level=None))
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = _migrated(_connect(self._path))
            self._readers.append(connection)
        return connection

    def _writing_connection(self) -> sqlite3.Connection:
        if self._writer is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # Images are nobody else's business; SQLite gives the log the permissions of the file.
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
            connection = _migrated(_connect(self._path))
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # what a killed process had forgotten last
            self._writer = connection
        return self._writer


class _Transaction:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._connection.execute(statement, values).fetchall()

    def change(self, statement: str, *values: Any) -> int:
        return self._connection.execute(statement, values).rowcount

    def next_revision(self) -> int:
        ((revision,),) = self.rows("UPDATE revisions SET last = last + 1 RETURNING last")
        return int(revision)


def _empty_log(connection: sqlite3.Connection) -> bool:
    ((busy, _, _),) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return not busy


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON", "temp_store=MEMORY", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _migrated(connection: sqlite3.Connection) -> sqlite3.Connection:
    if _version(connection) == len(MIGRATIONS):
        return connection
    connection.execute("BEGIN IMMEDIATE")
    version = _version(connection)  # another process may have been first
    if version > len(MIGRATIONS):
        connection.execute("ROLLBACK")
        raise StoreUnavailable(
            f"The store of the memories has version {version}; this server knows versions up to {len(MIGRATIONS)}. "
            "Upgrade the server."
        )
    if version == 0:
        connection.execute("CREATE TABLE revisions (last INTEGER NOT NULL)")
        connection.execute("INSERT INTO revisions VALUES (0)")
    version = migrate(version, MIGRATIONS, connection.execute, **_WORDS)
    connection.execute(f"PRAGMA user_version = {version}")
    connection.execute("COMMIT")
    return connection


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


@contextmanager
def _answering(path: Path) -> Iterator[None]:
    """Say in the store's words what SQLite or the file system refuses."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StoreUnavailable(f"The store of the memories, {path.name}, cannot be used: {error}.") from error
