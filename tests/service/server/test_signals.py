"""Signals that are no reason to stop."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import httpx
import pytest

from tests.support.images.service_images import encode, scene
from tests.support.models.prepared_models import GRAPH_ONLY
from tests.support.processes.processes import descendants
from tests.support.processes.waiting import CEILING
from tests.support.servers.running_server import running_server


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_terminal_that_closes_stops_no_server(graph_folder: Path, workers: str) -> None:
    with running_server("--model", str(graph_folder), "--workers", workers, **GRAPH_ONLY) as (url, pid):
        everybody = {pid, *descendants(pid)}
        for each in everybody:
            os.kill(each, signal.SIGHUP)
        for _ in range(4):
            answer = httpx.post(f"{url}/v1/classify", content=encode(scene()), timeout=CEILING)
            assert answer.status_code == 200
        # A server process that was ready later than the first may have started more.
        assert everybody <= {pid, *descendants(pid)}
