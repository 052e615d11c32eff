"""Open the store that the settings name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from service.errors import SettingsError
from service.memories.stores.sqlite import SqliteStore
from service.memories.stores.store import MemoryStore

if TYPE_CHECKING:
    from service.memories.stores.postgres import PostgresStore

_POSTGRES = ("postgresql://", "postgres://")
_SQLITE = b"SQLite format 3\0"  # what its files begin with


def check_place(where: str | None) -> None:
    """Check that memories can be kept in a place, as far as can be told without a connection.

    Args:
        where: As the setting `AIT_MEMORIES`.

    Raises:
        SettingsError: It is a PostgreSQL database, and what that needs is not installed; or a folder, or a file that
            is no database.
    """
    if where is not None and where.startswith(_POSTGRES):
        _postgres_store()
        return
    path = _file(where)
    try:
        # Only a regular file is read: a pipe would keep whoever opens it waiting.
        database = not path.exists() or (path.is_file() and _begins_as_one(path))
    except OSError:
        return  # whatever keeps it from being read is said when somebody asks
    if not database:
        raise SettingsError(
            f"AIT_MEMORIES: {path} is no database of memories. Name the file of this server's, or one that is not "
            "there yet."
        )


def open_store(where: str | None) -> MemoryStore:
    """Open a store; a file is made when it is first written to.

    Args:
        where: As the setting `AIT_MEMORIES`.

    Raises:
        SettingsError: As `check_place`.
    """
    check_place(where)
    if where is not None and where.startswith(_POSTGRES):
        return _postgres_store()(where)
    return SqliteStore(_file(where))


def _postgres_store() -> type[PostgresStore]:
    try:
        from service.memories.stores.postgres import PostgresStore
    except ImportError as error:
        raise SettingsError(
            f"AIT_MEMORIES names a PostgreSQL database, which needs psycopg ({error}). Install it with "
            "pip install 'associative-transformer[postgres]'."
        ) from error
    return PostgresStore


def _begins_as_one(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_SQLITE)) in (b"", _SQLITE)


def _file(where: str | None) -> Path:
    if where is None:
        data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
        return Path(data).expanduser() / "ait" / "memories.sqlite3"
    return Path(where).expanduser()
