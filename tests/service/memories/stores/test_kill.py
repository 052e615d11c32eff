"""A few of the kills of `memory_kills`, which can do many more."""

from __future__ import annotations

from pathlib import Path

from tests.support.stress.memory_kills import kill_writers


def test_nothing_acknowledged_is_lost_when_writers_are_killed(tmp_path: Path) -> None:
    counts = kill_writers(str(tmp_path / "memories.sqlite3"), kills=4)
    assert counts["acknowledged"] > 0
    assert counts["whole"] + counts["not at all"] == 4
