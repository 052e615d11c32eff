"""Real server processes: under load, when processes die, when files change and when they stop; and failed starts."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from service.server.run import serve
from tests.support.images.service_images import encode, scene
from tests.support.models.prepared_models import GRAPH_ONLY
from tests.support.models.served_models import publish
from tests.support.processes.processes import alive, descendants
from tests.support.processes.waiting import CEILING, wait_for
from tests.support.servers.load import Load
from tests.support.servers.running_server import PATIENT
from tests.support.servers.stopping import is_stopping, requests_in_progress

IMAGE = encode(scene())


@contextmanager
def running(*arguments: str, **settings: str) -> Iterator[tuple[subprocess.Popen[str], httpx.URL]]:
    """A server process and its URL, once it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-m", "service", "--port", "0", *arguments],
        env=os.environ | PATIENT | {"AIT_TORCH_THREADS": "1", "AIT_MAX_BODY_BYTES": "1000000"} | settings,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        line = process.stdout.readline()
        url = re.fullmatch(r"Serving colours at (http://127\.0\.0\.1:\d+) \(Ctrl-C stops\)\n", line)
        assert url, line
        yield process, httpx.URL(url[1])
    finally:
        process.kill()
        process.wait()
        process.stdout and process.stdout.close()


def test_a_server_process(graph_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with running("--model", str(graph_folder), **GRAPH_ONLY) as (process, url):
        with httpx.Client(base_url=url, timeout=CEILING) as client:
            assert client.get("/health/ready").json() == {"ready": True}
            answer = client.post("/v1/classify", content=IMAGE)
            assert answer.status_code == 200
            assert "connection" not in answer.headers
            assert client.post("/v1/classify", content=bytes(1_500_000)).status_code == 413
            assert client.post("/v1/classify", content=iter([bytes(100_000)] * 15)).status_code == 413
            assert client.post("/v1/classify", content=b"text").status_code == 415
            assert serve(port=url.port, model=str(graph_folder)) == 1
            error = capfd.readouterr().err
            assert f"port {url.port}" in error
            assert "--port" in error
            assert "Traceback" not in error

        # A request whose body is still on its way when the signal comes is answered all the same.
        with socket.create_connection(("127.0.0.1", url.port), timeout=CEILING) as connection:
            head = f"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(IMAGE)}\r\n\r\n"
            connection.sendall(head.encode() + IMAGE[:50])
            wait_for(lambda: requests_in_progress(url) == 2, "the request")  # that for the metrics is the other one
            process.send_signal(signal.SIGTERM)
            wait_for(lambda: is_stopping(url), "the server to take note of the signal")
            connection.sendall(IMAGE[50:])
            late = b"".join(iter(lambda: connection.recv(65536), b""))
        assert late.startswith(b"HTTP/1.1 200")
        assert b'"predictions"' in late
        children = descendants(process.pid)
        assert process.wait(CEILING) == 0
        assert not any(map(alive, children))
        assert process.stdout
        assert process.stdout.read() == ""


def test_what_happens_under_load(tmp_path: Path, model_folder: Path, other_folder: Path) -> None:
    publish(model_folder, tmp_path, "colours", 1)
    with running("--models", str(tmp_path), AIT_RELOAD_SECONDS="0.2") as (process, url):
        with Load(url) as load:  # a new version
            publish(other_folder, tmp_path, "colours", 2)
            wait_for(lambda: load.answers[-1].json()["version"] == "2", "the new version to answer")
        assert set(load.statuses()) == {200}
        assert load.broken == []
        shown = httpx.get(f"{url}/v1/models/colours", timeout=CEILING).json()
        assert (shown["version"], shown["versions"]) == ("2", ["1", "2"])

        with Load(url) as load:  # the processes of both versions die
            (forks,) = [pid for pid in descendants(process.pid) if descendants(pid)]
            models = descendants(forks)
            for pid in models:
                os.kill(pid, signal.SIGKILL)
            wait_for(
                lambda: (now := descendants(forks)).isdisjoint(models) and len(now) == len(models), "new processes"
            )
            count = len(load.answers)
            wait_for(lambda: set(load.statuses()[count:][-20:]) == {200} and len(load.answers) > count + 20, "answers")
        assert set(load.statuses()) <= {200, 503}
        assert all(answer.headers["retry-after"] for answer in load.answers if answer.status_code == 503)
        assert load.broken == []

        models = descendants(forks)
        os.kill(forks, signal.SIGKILL)  # the process that starts the others, too
        with Load(url) as load:  # and then the server is to stop
            process.send_signal(signal.SIGTERM)
            assert process.wait(CEILING) == 0
            wait_for(lambda: load.refused == 4, "all clients to find the port closed")
        assert set(load.statuses()) <= {200, 503}
        assert load.broken == []
        wait_for(lambda: not any(map(alive, models)), "the models' processes to end")


def test_nothing_is_left_of_a_server_that_is_killed(graph_folder: Path) -> None:
    with running("--model", str(graph_folder), **GRAPH_ONLY) as (process, _):
        children = descendants(process.pid)
        assert len(children) == 2
        process.kill()
        wait_for(lambda: not any(map(alive, children)), "the children to end")


@pytest.mark.parametrize("model", ["missing", "torn"])
def test_a_model_that_cannot_be_served(
    model_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], model: str
) -> None:
    path = tmp_path / model
    if model == "torn":
        path.mkdir()
        (path / "config.json").write_bytes((model_folder / "config.json").read_bytes())
        (path / "model.safetensors").write_bytes((model_folder / "model.safetensors").read_bytes()[:5000])
    assert serve(port=0, model=str(path)) == 1
    written = capfd.readouterr()
    assert str(path) in written.err
    assert "Traceback" not in written.err
    assert "Serving" not in written.out


def test_a_folder_of_models_that_is_not_there(capfd: pytest.CaptureFixture[str]) -> None:
    assert serve(port=0, models="/no/such/folder") == 1
    assert "AIT_MODELS=/no/such/folder" in capfd.readouterr().err


def test_a_wrong_setting(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIT_MAX_FILES", "-1")
    assert serve(port=0, model=str(model_folder)) == 2
    assert "AIT_MAX_FILES" in capfd.readouterr().err


@pytest.mark.parametrize("kind", ["text", "folder", "pipe"])
def test_memories_that_are_no_database(
    model_folder: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "memories"
    {"text": lambda: place.write_text("no database"), "folder": place.mkdir, "pipe": lambda: os.mkfifo(place)}[kind]()
    monkeypatch.setenv("AIT_MEMORIES", str(place))
    assert serve(port=0, model=str(model_folder)) == 2
    assert f"AIT_MEMORIES: {place} is no database of memories" in capfd.readouterr().err


def test_a_host_that_is_not_here(model_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert serve(host="192.0.2.1", port=0, model=str(model_folder)) == 1
    assert "--host" in capfd.readouterr().err
