"""Several server processes behind one port, for real."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from ait_lite.checkpoint import WEIGHTS
from ait_lite.runtimes.prepared import GRAPH
from service.server.run import serve
from service.server.supervisor import share
from service.settings import Settings
from tests.support.images.service_images import encode, scene
from tests.support.models.prepared_models import GRAPH_ONLY
from tests.support.processes.processes import children
from tests.support.processes.waiting import CEILING, wait_for
from tests.support.servers.keys import sha256
from tests.support.servers.running_server import PATIENT, SERVE

IMAGE = encode(scene())
KEY, SLOW, ADMIN = "key", "slow", "admin"


@dataclass
class Server:
    """Each request comes over a connection of its own, so that any of the processes may answer it."""

    process: subprocess.Popen[str]
    url: str
    log: Path
    client: httpx.Client
    asked: int = 0

    def ask(self, method: str, path: str, key: str = KEY, **options: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {key}", "connection": "close"}
        return self.client.request(method, self.url + path, headers=headers, **options)

    def classify(self, times: int = 1) -> None:
        for _ in range(times):
            self.asked += 1
            assert self.ask("POST", "/v1/classify", content=IMAGE).status_code == 200

    def metric(self, name: str) -> dict[str, float]:
        lines = self.ask("GET", "/metrics").text.splitlines()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line.startswith(name)}

    def classified(self) -> float:
        found = self.metric('ait_http_requests_total{method="POST",route="/v1/classify",status="200"}')
        return sum(found.values())

    def states_of_others(self) -> set[int]:
        """How the model of that name is, in either process."""
        return {self.ask("GET", "/v2/models/others/ready").status_code for _ in range(8)}

    def pids(self) -> list[int]:
        return children(self.process.pid)


def is_closed(host: str, port: int) -> bool:
    """Return whether no process takes connections any more."""
    try:
        socket.create_connection((host, port), timeout=CEILING).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.fixture(scope="module")
def server(graph_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    for name in ("colours", "others"):
        (folder / "models" / name).mkdir(parents=True)
        (folder / "models" / name / "1").symlink_to(graph_folder)
    environment = (
        os.environ
        | PATIENT
        | GRAPH_ONLY
        | {
            "AIT_MODELS": str(folder / "models"),
            "AIT_API_KEYS": f"user {sha256(KEY)}, slow {sha256(SLOW)} 0.001 4",
            "AIT_ADMIN_KEY_SHA256": sha256(ADMIN),
        }
    )
    with (folder / "log").open("w") as log:
        command = [sys.executable, "-m", "service", "--port", "0", "--workers", "2"]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout
        line = process.stdout.readline()
        found = re.fullmatch(
            r"Serving colours, others at (http://127\.0\.0\.1:\d+) with 2 processes \(Ctrl-C stops\)\n", line
        )
        assert found, (line, (folder / "log").read_text())
        with httpx.Client(verify=False, timeout=CEILING) as client:
            yield Server(process, found[1], folder / "log", client)
    finally:
        process.kill()
        process.wait()
        process.stdout and process.stdout.close()


def test_each_process_answers_for_all(server: Server) -> None:
    assert len(server.pids()) == 2
    server.classify(20)
    for _ in range(6):  # whichever is asked
        assert server.classified() == server.asked
        # A process that is not asked may be too busy to say how it is.
        wait_for(lambda: len(server.metric("ait_worker_up")) == 2, "both processes in the metrics")
        wait_for(lambda: len(server.metric("ait_resident_memory_bytes")) == 2 * (2 + 2), "the memory of both")
    images = server.metric('ait_batch_size_sum{model="colours",operation="logits"}')
    assert sum(images.values()) == server.asked

    def inferences() -> int:
        return int(server.ask("GET", "/v2/models/colours/stats").json()["model_stats"][0]["inference_count"])

    for _ in range(4):
        wait_for(lambda: inferences() == server.asked, "the statistics of both processes")


def test_the_rate_of_a_key_is_that_of_all_processes(server: Server) -> None:
    codes = [server.ask("GET", "/v1/models", key=SLOW).status_code for _ in range(12)]
    assert codes == [200] * 4 + [429] * 8


def test_models_come_and_go_in_all_processes(server: Server) -> None:
    assert server.states_of_others() == {200}
    assert server.ask("POST", "/v2/repository/models/others/unload", key=ADMIN).status_code == 200
    assert server.states_of_others() == {404}
    assert server.ask("POST", "/v2/repository/models/others/unload", key=ADMIN).status_code == 404
    assert server.ask("POST", "/v2/repository/models/others/load", key=ADMIN).status_code == 200
    assert server.states_of_others() == {200}
    assert server.ask("POST", "/v2/repository/models/nothing/load", key=ADMIN).status_code == 404


def test_a_process_that_dies_is_replaced_and_what_it_counted_stays(server: Server) -> None:
    server.classify(5)
    assert server.ask("POST", "/v2/repository/models/others/unload", key=ADMIN).status_code == 200
    victim = server.pids()[-1]
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: victim not in server.pids(), "the process to end")

    def both_answer() -> bool:
        server.classify()  # the other one answers, and nothing waits for the new one
        assert server.ask("GET", "/health/ready").status_code == 200
        return len(server.metric("ait_worker_up")) == 2

    wait_for(both_answer, "the process to be replaced")
    server.classify(5)
    assert server.classified() == server.asked
    assert server.states_of_others() == {404}  # also in the new one


def test_it_stops_when_it_has_answered_what_it_has_begun(server: Server) -> None:
    host, port = httpx.URL(server.url).host, httpx.URL(server.url).port
    connections = [socket.create_connection((host, port), timeout=CEILING) for _ in range(4)]
    head = f"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {KEY}\r\nContent-Length: {len(IMAGE)}\r\n\r\n"
    for connection in connections:
        connection.sendall(head.encode() + IMAGE[:50])
    wait_for(  # that for the metrics is the fifth
        lambda: sum(server.metric("ait_requests_in_progress").values()) == 5, "the requests"
    )
    workers = server.pids()
    server.process.send_signal(signal.SIGTERM)
    wait_for(lambda: is_closed(host, port), "all processes to take note of the signal")
    for connection in connections:
        connection.sendall(IMAGE[50:])
    answers = [connection.makefile("rb").read() for connection in connections]
    for connection in connections:
        connection.close()
    assert [each.split(b" ", 2)[1] for each in answers] == [b"200"] * 4
    assert server.process.wait(CEILING) == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    with pytest.raises(httpx.ConnectError):
        server.ask("GET", "/health/live")
    for line in server.log.read_text().splitlines():
        assert json.loads(line)["message"]


@pytest.mark.parametrize("patience", ["2", f"{CEILING:g}"], ids=["noticed", "woken"])
def test_a_process_that_hangs_holds_nothing_up(graph_folder: Path, tmp_path: Path, patience: str) -> None:
    """It is replaced when that is noticed; until then it does not keep the server from stopping."""
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [*SERVE, "--port", "0", "--model", str(graph_folder), "--workers", "2"],
            env=os.environ | PATIENT | GRAPH_ONLY | {"AIT_HUNG_SECONDS": patience},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        assert process.stdout
        assert process.stdout.readline()
        victim = children(process.pid)[0]
        os.kill(victim, signal.SIGSTOP)
        if patience == "2":
            wait_for(lambda: victim not in children(process.pid), "the process to be killed")
            wait_for(lambda: len(children(process.pid)) == 2, "another one to be started")
            assert "has not answered for 2 s and is killed" in (tmp_path / "log").read_text()
        process.send_signal(signal.SIGTERM)
        assert process.wait(CEILING) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout and process.stdout.close()


def test_models_that_cannot_be_served(
    graph_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIT_RUNTIME", GRAPH_ONLY["AIT_RUNTIME"])
    torn = Path(shutil.copytree(graph_folder, tmp_path / "torn"))
    (torn / WEIGHTS).unlink()  # they would be served instead
    (torn / GRAPH).write_bytes((torn / GRAPH).read_bytes()[:500])
    assert serve(port=0, model=str(torn), workers=2) == 1
    written = capfd.readouterr()
    assert str(torn) in written.err
    assert "Traceback" not in written.err
    assert not written.out


def test_the_processes_share_the_processors() -> None:
    shared = share(Settings(_env_file=None, workers=2))
    alone = share(Settings(_env_file=None, workers=1))
    assert shared.torch_threads == max(1, alone.torch_threads // 2)
    assert share(Settings(_env_file=None, workers=256)).decode_threads == 1
    assert share(Settings(_env_file=None, workers=2, torch_threads=7)).torch_threads == 7
