"""Servers where nothing can be written to, as in a container with a read-only file system."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import httpx

from tests.support.images.service_images import encode, scene
from tests.support.models.prepared_models import GRAPH_ONLY
from tests.support.processes.read_only import read_only
from tests.support.processes.waiting import CEILING
from tests.support.servers.running_server import SERVE, running_server

LARGE = encode(scene(900, 900))


def classify(url: str) -> None:
    answer = httpx.post(f"{url}/v1/classify", files=[("file", LARGE), ("file", LARGE)], timeout=CEILING)
    assert answer.status_code == 200
    assert len(answer.json()["predictions"]) == 2


def test_one_process_needs_no_folder(model_folder: Path, tmp_path: Path) -> None:
    environment = {**read_only(tmp_path / "code"), "AIT_TORCH_THREADS": "1"}
    with running_server("--model", str(model_folder), **environment) as (url, _):
        classify(url)


def test_several_processes_take_the_one_that_there_is(graph_folder: Path, tmp_path: Path, short_path: Path) -> None:
    environment = {**read_only(tmp_path / "code", short_path), **GRAPH_ONLY}
    with running_server("--model", str(graph_folder), "--workers", "2", **environment) as (url, _):
        for _ in range(4):
            classify(url)
        assert len(list(short_path.glob("ait-server-*"))) == 1
    assert not list(short_path.glob("ait-server-*"))


def test_several_processes_say_that_they_need_one(model_folder: Path, tmp_path: Path) -> None:
    command = [*SERVE, "--port", "0", "--model", str(model_folder), "--workers", "2"]
    environment = os.environ | read_only(tmp_path / "code")
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=CEILING)
    assert ended.returncode == 1
    assert "docker run --tmpfs /tmp" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not ended.stdout
