"""Server processes of one machine share their memories: whoever answers knows what any of them has been taught."""

from __future__ import annotations

from pathlib import Path

import httpx

from tests.support.memories_client import COLOURS, coloured
from tests.support.prepared_models import GRAPH_ONLY
from tests.support.running_server import running_server
from tests.support.waiting import CEILING


def test_every_process_knows_what_another_has_been_taught(graph_folder: Path, tmp_path: Path) -> None:
    settings = {**GRAPH_ONLY, "AIT_MODEL": str(graph_folder), "AIT_MEMORIES": str(tmp_path / "m.sqlite3")}
    with running_server("--workers", "2", **settings) as (url, _):
        ask = f"{url}/v1/memories/shared"

        def send(method: str, path: str, **options: object) -> httpx.Response:
            # A connection of its own each time, which any process may get.
            answer = httpx.request(method, ask + path, timeout=CEILING, **options)  # type: ignore[arg-type]
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
