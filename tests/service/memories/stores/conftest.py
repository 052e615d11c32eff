from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.servers.postgres_server import running_postgres


@pytest.fixture(scope="package")
def database() -> Iterator[str]:
    """The address of a PostgreSQL server of the tests' own."""
    with running_postgres() as server:
        yield server.url
