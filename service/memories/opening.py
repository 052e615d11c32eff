"""Open the store that the settings name."""

from __future__ import annotations

import os
from pathlib import Path

from service.memories.sqlite import SqliteStore
from service.memories.store import MemoryStore


def open_store(where: str | None) -> MemoryStore:
    """Open a store; a file is made when it is first written to.

    Args:
        where: As the setting `AIT_MEMORIES`.
    """
    if where is None:
        data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
        return SqliteStore(Path(data).expanduser() / "ait" / "memories.sqlite3")
    return SqliteStore(Path(where).expanduser())
