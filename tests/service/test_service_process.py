"""A real server process, and the ways in which it does not start."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from service_pictures import encode, scene

from service.server import serve


def test_a_server_process(model_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    environment = os.environ | {"AIT_TORCH_THREADS": "1", "AIT_MAX_BODY_BYTES": "1000000"}
    process = subprocess.Popen(
        [sys.executable, "-m", "service", "--port", "0", "--model", str(model_folder)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    try:
        assert process.stdout
        line = process.stdout.readline()
        url = re.fullmatch(r"Serving colours at (http://127\.0\.0\.1:\d+) \(Ctrl-C stops\)\n", line)[1]  # type: ignore[index]
        picture = encode(scene())
        with httpx.Client(base_url=url) as client:
            assert client.get("/health/ready").json() == {"ready": True}
            answer = client.post("/v1/classify", content=picture)
            assert answer.status_code == 200
            assert client.post("/v1/classify", content=bytes(1_500_000)).status_code == 413
            assert client.post("/v1/classify", content=iter([bytes(100_000)] * 15)).status_code == 413
            assert client.post("/v1/classify", content=b"text").status_code == 415
            port = httpx.URL(url).port
            assert serve(port=port, model=str(model_folder)) == 1
            error = capfd.readouterr().err
            assert f"port {port}" in error
            assert "--port" in error
            assert "Traceback" not in error

        # A request whose body is still on its way when the signal comes is answered all the same.
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            head = f"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Length: {len(picture)}\r\n\r\n"
            connection.sendall(head.encode() + picture[:50])
            time.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            connection.sendall(picture[50:])
            late = b"".join(iter(lambda: connection.recv(65536), b""))
        assert late.startswith(b"HTTP/1.1 200")
        assert b'"predictions"' in late
        assert process.wait(20) == 0
        assert process.stdout.read() == ""
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
        process.stdout and process.stdout.close()


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


def test_a_wrong_setting(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIT_MAX_FILES", "-1")
    assert serve(port=0, model=str(model_folder)) == 2
    assert "AIT_MAX_FILES" in capfd.readouterr().err


def test_a_host_that_is_not_here(model_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert serve(host="192.0.2.1", port=0, model=str(model_folder)) == 1
    assert "--host" in capfd.readouterr().err
