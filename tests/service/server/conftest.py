"""Folders for servers of several processes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A temporary folder whose path leaves room for names of sockets, which `tmp_path` does not always."""
    with tempfile.TemporaryDirectory(prefix="ait-", dir="/tmp") as name:
        yield Path(name)
