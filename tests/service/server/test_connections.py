"""A server process within its limits on connections."""

from __future__ import annotations

import json
import re
import shlex
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest

from tests.support.fuzz.http import fuzz
from tests.support.images.service_images import encode, scene
from tests.support.models.prepared_models import GRAPH_ONLY
from tests.support.processes.waiting import CEILING, wait_for
from tests.support.servers.running_server import SERVE, running_server

IMAGE = encode(scene())
HEAD = f"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(IMAGE)}\r\n\r\n".encode()

Address = tuple[str, int]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("server") / "log.txt"


@pytest.fixture(scope="module")
def url(graph_folder: Path, log: Path) -> Iterator[str]:
    """A server that may open 256 files."""
    command = ("sh", "-c", f'ulimit -n 256; exec {shlex.join(SERVE)} "$@"', "sh")
    with (
        log.open("w") as stderr,
        running_server(
            "--model", str(graph_folder), command=command, stderr=stderr, AIT_HEAD_SECONDS="600", **GRAPH_ONLY
        ) as (url, _),
    ):
        yield url


@pytest.fixture(scope="module")
def address(url: str) -> Address:
    found = httpx.URL(url)
    assert found.port
    return found.host, found.port


def everything(connection: socket.socket) -> bytes:
    """What comes until the server closes; a reset ends it too."""
    received = b""
    with suppress(ConnectionError):
        while chunk := connection.recv(65536):
            received += chunk
    return received


def test_a_head_that_is_too_large_is_refused(address: Address, url: str) -> None:
    with socket.create_connection(address, timeout=CEILING) as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n")
        with suppress(ConnectionError):
            for number in range(300):
                connection.sendall(b"x-%d: " % number + bytes(1_000_000).replace(b"\0", b"a") + b"\r\n")
        answer = everything(connection)
    if answer:  # a reset may have overtaken it
        assert answer.startswith(b"HTTP/1.1 431 ")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["type"] == "urn:ait:head-too-large"
    many = {f"x-{number}": "a" for number in range(300)}
    assert httpx.get(f"{url}/health/live", headers=many, timeout=CEILING).status_code == 431
    assert httpx.get(f"{url}/health/live", timeout=CEILING).status_code == 200


def test_a_client_that_has_sent_all_and_closed_its_half_is_answered(address: Address) -> None:
    with socket.create_connection(address, timeout=CEILING) as connection:
        connection.sendall(HEAD + IMAGE)
        connection.shutdown(socket.SHUT_WR)
        answer = everything(connection)
    assert re.search(rb"HTTP/1\.1 200 .*\"predictions\"", answer, re.DOTALL)


def test_bare_connections_keep_nobody_out(address: Address, url: str, log: Path) -> None:
    with ExitStack() as bare:
        for _ in range(400):
            bare.enter_context(socket.create_connection(address, timeout=CEILING))
        assert httpx.get(f"{url}/health/ready", timeout=CEILING).status_code == 200
        assert httpx.post(f"{url}/v1/classify", content=IMAGE, timeout=CEILING).status_code == 200
        wait_for(lambda: "connections are taken" in log.read_text(), "the log to say so")


def test_mutated_requests_bring_no_internal_error(url: str, log: Path) -> None:
    """A few of those of `http_fuzz`, which makes many more."""
    report = fuzz(url, count=300, seed=1)
    assert not report.failures
    assert {200, 400} <= report.statuses.keys()
    assert "Traceback" not in log.read_text()


def test_only_the_names_of_this_machine_are_answered(url: str) -> None:
    refused = httpx.get(f"{url}/v1/models", headers={"host": "rebound.example"}, timeout=CEILING)
    assert refused.status_code == 403
    assert refused.json()["type"] == "urn:ait:unknown-host"
    assert httpx.get(f"{url}/v1/models", headers={"host": "localhost"}, timeout=CEILING).status_code == 200
