"""Stores of both kinds, empty."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.memories.stores.opening import open_store
from service.memories.stores.store import MemoryStore
from tests.support.servers.postgres_server import running_postgres


@pytest.fixture(params=["sqlite", "postgres"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The place of a store."""
    return str(tmp_path / "memories.sqlite3") if request.param == "sqlite" else request.getfixturevalue("database")


@pytest.fixture
def store(where: str) -> Iterator[MemoryStore]:
    yield from _emptied(where)


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemoryStore]:
    folder = tmp_path_factory.mktemp("store")
    yield from _emptied(
        folder / "memories.sqlite3" if request.param == "sqlite" else request.getfixturevalue("database")
    )


def _emptied(where: Path | str) -> Iterator[MemoryStore]:
    store = open_store(str(where))
    for memory in store.memories():
        store.delete(memory.name)
    yield store
    store.close()


@pytest.fixture(scope="package")
def database() -> Iterator[str]:
    """The address of a PostgreSQL server of the tests' own."""
    with running_postgres() as server:
        yield server.url
