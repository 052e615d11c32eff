"""Server processes of one machine share their memories: whoever answers knows what any of them has been taught."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.models.prepared_models import GRAPH_ONLY
from tests.support.processes.waiting import CEILING
from tests.support.servers.memories_client import COLOURS, coloured
from tests.support.servers.running_server import running_server
from tests.support.stress.memory_races import race


@pytest.fixture(scope="module")
def server(graph_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """The address of a server of two processes, and the one that started them."""
    store = tmp_path_factory.mktemp("store") / "m.sqlite3"
    settings = {**GRAPH_ONLY, "AIT_MODEL": str(graph_folder), "AIT_MEMORIES": str(store)}
    with running_server("--workers", "2", **settings) as started:
        yield started


def test_every_process_knows_what_another_has_been_taught(server: tuple[str, int]) -> None:
    ask = f"{server[0]}/v1/memories/shared"

    def send(method: str, path: str, **options: Any) -> httpx.Response:
        # A connection of its own each time, which any process may get.
        answer = httpx.request(method, ask + path, timeout=CEILING, **options)
        assert answer.is_success, answer.text
        return answer

    send("PUT", "")
    for number in range(4):
        for label in COLOURS:
            image = coloured(label, number)
            taught = send("PUT", f"/examples/{label}-{number}?label={label}", content=image)
            revision = {"memory-revision": taught.headers["memory-revision"]}
            found = send("POST", "/recall", content=image, headers=revision).json()
            assert found["predictions"][0]["evidence"][0]["id"] == f"{label}-{number}"
            assert found["revision"] >= int(taught.headers["memory-revision"])
    digests = {send("POST", "/verify").json()["digest"] for _ in range(8)}
    assert len(digests) == 1


def test_no_update_is_lost_when_a_process_is_killed(server: tuple[str, int]) -> None:
    """A few of the steps of `memory_races`, which does many more; the last here, as it leaves one process."""
    url, supervisor = server
    counts = race(url, supervisor, writers=4, steps=10, kill_every=35)
    assert counts["killed"] >= 1
    assert counts["counted up to"] > 0
