"""Signals that are no reason to stop."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import httpx
import pytest

from tests.support.prepared_models import GRAPH_ONLY
from tests.support.processes import descendants
from tests.support.running_server import running_server
from tests.support.service_images import encode, scene
from tests.support.waiting import CEILING


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
