"""Open the store that the settings name."""

from __future__ import annotations

import os
from pathlib import Path

from service.errors import SettingsError
from service.memories.stores.sqlite import SqliteStore
from service.memories.stores.store import MemoryStore

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
        try:
            import psycopg  # noqa: F401
        except ImportError as error:
            raise SettingsError(
                f"AIT_MEMORIES names a PostgreSQL database, which needs psycopg ({error}). Install it with "
                "pip install 'associative-transformer[postgres]'."
            ) from error
        return
    path = _file(where)
    try:
        with path.open("rb") as file:
            begin = file.read(len(_SQLITE))
    except IsADirectoryError:
        begin = b"a folder"
    except OSError:
        return  # not there yet; whatever else keeps it from being read is said when somebody asks
    if begin not in (b"", _SQLITE):
        raise SettingsError(
            f"AIT_MEMORIES={path} is no database of memories. Name the file of this server's, or one that is not "
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
        from service.memories.stores.postgres import PostgresStore

        return PostgresStore(where)
    return SqliteStore(_file(where))


def _file(where: str | None) -> Path:
    if where is None:
        data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
        return Path(data).expanduser() / "ait" / "memories.sqlite3"
    return Path(where).expanduser()
