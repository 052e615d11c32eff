"""A server asks nobody over the network: none of its processes connects beyond the machine or resolves a name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.support.processes.waiting import CEILING
from tests.support.servers.running_server import running_server
from tests.support.servers.service_client import IMAGE
from tests.support.servers.watched_network import read_notes, watched

_ASKS = """
import os, socket, sys
sys.argv = ["x"]
if os.fork() == 0:
    for each in ("192.0.2.1", "127.0.0.1"):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream:
            stream.settimeout(0.001)
            try:
                stream.connect((each, 9))
            except OSError:
                pass
    os._exit(0)
os.wait()
try:
    socket.getaddrinfo("name.invalid", 80)
except OSError:
    pass
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
    try:
        datagrams.sendto(b"", ("192.0.2.2", 9))
    except OSError:
        pass
"""


def test_the_watcher_sees_who_asks(tmp_path: Path) -> None:
    environment = os.environ | watched(tmp_path / "watch")
    subprocess.run([sys.executable, "-c", _ASKS], env=environment, check=True, timeout=CEILING)
    processes, asked = read_notes(tmp_path / "watch")
    assert len(processes) == 2
    assert asked == [
        ["socket.connect", "192.0.2.1"],
        ["socket.getaddrinfo", "name.invalid"],
        ["socket.sendto", "192.0.2.2"],
    ]


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_a_server_asks_nobody(graph_folder: Path, tmp_path: Path, short_path: Path, runtime: str) -> None:
    options = {"AIT_RUNTIME": runtime, "AIT_TORCH_THREADS": "1", "TMPDIR": str(short_path)}
    options["AIT_MEMORIES"] = str(tmp_path / "memories.sqlite3")
    options |= watched(tmp_path / "watch")
    with running_server("--model", str(graph_folder), "--workers", "2", **options) as (url, pid):
        for _ in range(4):
            assert httpx.post(f"{url}/v1/classify", content=IMAGE, timeout=CEILING).status_code == 200
        assert httpx.get(f"{url}/metrics", timeout=CEILING).status_code == 200
    processes, asked = read_notes(tmp_path / "watch")
    assert pid in processes
    assert len(processes) >= 7  # the supervisor, and two workers, each with a process that forks and a model's
    assert asked == []
