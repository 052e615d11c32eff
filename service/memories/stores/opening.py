"""Open the store that the settings name."""

from __future__ import annotations

import os
from pathlib import Path

from service.errors import SettingsError
from service.memories.stores.sqlite import SqliteStore
from service.memories.stores.store import MemoryStore

_POSTGRES = ("postgresql://", "postgres://")


def open_store(where: str | None) -> MemoryStore:
    """Open a store; a file is made when it is first written to.

    Args:
        where: As the setting `AIT_MEMORIES`.

    Raises:
        SettingsError: It is a PostgreSQL database, and what that needs is not installed.
    """
    if where is None:
        data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
        return SqliteStore(Path(data).expanduser() / "ait" / "memories.sqlite3")
    if where.startswith(_POSTGRES):
        try:
            from service.memories.stores.postgres import PostgresStore
        except ImportError as error:
            raise SettingsError(
                f"AIT_MEMORIES names a PostgreSQL database, which needs psycopg ({error}). Install it with "
                "pip install 'associative-transformer[postgres]'."
            ) from error
        return PostgresStore(where)
    return SqliteStore(Path(where).expanduser())
