"""A few of the mutated requests of `memories_fuzz`, which has many more."""

from __future__ import annotations

from pathlib import Path

from tests.support.fuzz.memories import fuzz
from tests.support.servers.memories_client import create, serving, teach_colours


def test_mutated_requests_to_memories_are_answered_or_refused(graph_folder: Path, tmp_path: Path) -> None:
    options = {"runtime": "onnxruntime", "max_memories": 4, "max_memory_examples": 50}
    with serving(graph_folder, tmp_path / "memories.sqlite3", **options) as client:
        create(client, "filled", readout="prototype")
        teach_colours(client, "filled", each=2)
        file = client.get("/v1/memories/filled/file").content
        report = fuzz(client, count=400, seed=1, memory_file=file)
    assert not report.failures
    # Most mutations matter, and some do not: all sides are reached.
    assert {200, 400, 404, 405} <= report.statuses.keys()
    assert report.statuses[200] > 10
