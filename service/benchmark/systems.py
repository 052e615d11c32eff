"""The servers that are compared: how to start each with a model, where to send requests, how to stop it."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from ait_lite.runtimes import PRECISIONS
from service.benchmark.processes import ServerProcesses

HOST = "127.0.0.1"
START_SECONDS = 180.0
STOP_SECONDS = 30.0


class ServerError(Exception):
    """Raised where a server does not start or cannot be measured; the message says why."""


@dataclass(frozen=True)
class System:
    """A kind of server.

    Attributes:
        name: what it is called in results.
        module: run with `python -m`, with the arguments `--model FOLDER --port PORT`.
        path: where images are sent.
        health: answers with status 200 once the model does.
        needs: package that it needs besides the service's own.
        environment: variables that are set for it.
        runtime: the only one that it has; None runs the model in the one that the plain loop runs it in.
        precisions: it can compute in; where the plain loop computes in another one, it computes in fp32.
        tells: whether `/v1/models` says what it runs models in.
    """

    name: str
    module: str
    path: str
    health: str
    needs: str | None = None
    environment: dict[str, str] = field(default_factory=dict)
    runtime: str | None = None
    precisions: tuple[str, ...] = PRECISIONS
    tells: bool = False

    def runs_in(self, chosen: tuple[str, str]) -> tuple[str, str]:
        """Return the runtime and the precision that it runs the model in, where the plain loop runs in `chosen`."""
        runtime, precision = chosen
        return self.runtime or runtime, precision if precision in self.precisions else "fp32"


# The settings of the others are in their modules.
SYSTEMS = {
    system.name: system
    for system in (
        System("ait", "service", "/v1/classify", "/health/ready", tells=True),
        System(
            "onnxruntime",
            "service.benchmark.rivals.onnxruntime_app",
            "/predict",
            "/health",
            "onnxruntime",
            runtime="onnxruntime",
            precisions=("fp32", "int8"),  # it has no bf16 on processors
        ),
        System("litserve", "service.benchmark.rivals.litserve_app", "/predict", "/health", "litserve"),
        System(
            "ray",
            "service.benchmark.rivals.ray_serve_app",
            "/",
            "/",
            "ray",
            {
                "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
                "RAY_USAGE_STATS_ENABLED": "0",
                "RAY_AUTH_MODE": "disabled",  # reachable from this machine alone
            },
        ),
    )
}


@dataclass(frozen=True)
class Running:
    """A server that answers.

    Attributes:
        host, port: where.
        processes: None for a server on another machine.
    """

    host: str
    port: int
    processes: ServerProcesses | None


def check_installed(system: System) -> None:
    """Raise `ServerError` where a package that the system needs is not installed."""
    if system.needs and importlib.util.find_spec(system.needs) is None:
        raise ServerError(
            f"{system.name}: the package {system.needs} is not installed. "
            "Install it with: pip install 'associative-transformer[bench]'"
        )


@contextmanager
def started(
    system: System, model: Path, device: str, environment: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """Start a server in processes of its own; stop it at the end of the context.

    Args:
        system: The server.
        model: Folder of its model.
        device: Torch's.
        environment: Variables that are set for it, besides those of the system.

    Raises:
        ServerError: it did not start; the message has the end of its output.
    """
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        port = _free_port()
        process = subprocess.Popen(
            [sys.executable, "-m", system.module, "--model", str(model), "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "AIT_DEVICE": device, "HOST": HOST, **system.environment, **(environment or {})},
            start_new_session=True,
        )
        processes = ServerProcesses(process.pid)
        try:
            if not _wait(process, system, port):
                log.seek(0)
                raise ServerError(f"{system.name} did not start:\n{log.read()[-3000:].strip()}")
            yield Running(HOST, port, processes)
        finally:
            _stop(process, processes)


def status_of(host: str, port: int, path: str) -> int | None:
    """Return the status that answers a GET request; None without an answer."""
    try:
        with socket.create_connection((host, port), timeout=5) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            line = connection.makefile("rb").readline().split()
        return int(line[1])
    except (OSError, IndexError, ValueError):
        return None


def _wait(process: subprocess.Popen[bytes], system: System, port: int) -> bool:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        if status_of(HOST, port, system.health) == 200:
            return True
        time.sleep(0.1)
    return False


def _stop(process: subprocess.Popen[bytes], processes: ServerProcesses) -> None:
    """Stop the server as its users would, then kill whatever it left behind."""
    members = processes.all()
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    _, left = psutil.wait_procs(members, timeout=3)
    for member in left:
        member.kill()
    psutil.wait_procs(left, timeout=3)


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as listener:
        return int(listener.getsockname()[1])
