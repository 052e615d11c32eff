"""`ait bench service` as a function of Python."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from urllib.parse import urlsplit

from ait_lite.wording import counted
from service.benchmark.inputs import images_to_send, served_folder
from service.benchmark.plain_loop import PlainLoop
from service.benchmark.processes import ServerProcesses, listening_on
from service.benchmark.results import MemoryGrowth, ServerResult, ServiceBenchmark
from service.benchmark.run import Measurement, Progress, measure, soak
from service.benchmark.systems import SYSTEMS, Running, ServerError, check_installed, started, status_of
from service.model_process.runtimes.choice import Wanted
from service.processes.machine import available_processors
from service.settings import Precision, Runtime

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def benchmark_service(
    model: str | None = None,
    *,
    images: Path | None = None,
    url: str | None = None,
    against: Sequence[str] = (),
    connections: int = 64,
    seconds: float = 4.0,
    rounds: int = 5,
    soak_requests: int = 0,
    device: str = "auto",
    runtime: Runtime = "auto",
    precision: Precision = "fp32",
    progress: Progress = lambda text: None,
) -> ServiceBenchmark:
    """Measure the service, and other servers of the same model, against the model without a server.

    Args:
        model: a checkpoint folder, a bundled model, or the timm name of an architecture, which is then served
            with random weights; None is the project's own bundled model.
        images: folder of JPEG files; None makes some, twice as large as the model's input.
        url: of a service that runs already, with that model as its default; None starts one.
        against: names in `SYSTEMS`, besides "ait".
        connections: requests in flight at saturation.
        seconds: of each load.
        rounds: how often each server is started, measured and stopped.
        soak_requests: how many requests to send for a look at the memory; 0 is none.
        device: torch device; the same for all.
        runtime: what the plain loop and, in the same, all servers run the model in; of "auto" the fastest. The server
            "onnxruntime" has its own.
        precision: what they compute in; one that does not have it computes in fp32, and its figures say so.
        progress: called with a few words about each step.

    Returns:
        The figures of every server.

    Raises:
        ModelError: the model cannot be used; the message of this and of the others names the remedy.
        ImagesError: the folder has no image that can be used.
        PlainLoopError: the model fails without a server, too.
        ServerError: a server does not start, or serves another model.
    """
    systems = [SYSTEMS["ait"], *(SYSTEMS[name] for name in against)]
    for system in systems:
        check_installed(system)
    with ExitStack() as stack:
        folder = stack.enter_context(served_folder(model))
        reached = None if url is None else _reach(url)
        files = images_to_send(images, folder)
        progress("loading the model")
        plain_loop = stack.enter_context(closing(PlainLoop(folder, files, device, Wanted(runtime, precision))))
        chosen = plain_loop.runtime()
        environment = {"AIT_RUNTIME": chosen[0], "AIT_PRECISION": chosen[1]}
        if "onnxruntime" in against:
            environment["GRAPH"] = plain_loop.graph(SYSTEMS["onnxruntime"].runs_in(chosen)[1])
        measurement = Measurement(plain_loop, files, connections=connections, seconds=seconds, progress=progress)
        if reached is None:
            servers = measure(measurement, systems, folder.path, device, rounds, progress, environment)
            memory = None
            if soak_requests:
                with started(systems[0], folder.path, device, environment) as running:
                    memory = soak(measurement, systems[0], running, soak_requests, progress)
        else:
            servers, memory = _measure_running(measurement, reached, rounds, soak_requests, progress)
            servers += measure(measurement, systems[1:], folder.path, device, rounds, progress, environment)
    source = f"{counted(len(files), 'image')} from {images}" if images else counted(len(files), "made image")
    return ServiceBenchmark(
        folder.name,
        source,
        available_processors(),
        measurement.config,
        connections,
        servers,
        memory,
        runtime=" ".join(chosen),
    )


def _measure_running(
    measurement: Measurement, running: Running, rounds: int, soak_requests: int, progress: Progress
) -> tuple[list[ServerResult], MemoryGrowth | None]:
    system = SYSTEMS["ait"]
    found = [measurement.round(system, running) for _ in range(rounds)]
    memory = soak(measurement, system, running, soak_requests, progress) if soak_requests else None
    return [ServerResult(system.name, found)], memory


def _reach(url: str) -> Running:
    """Find the service at a URL, and its processes where they are on this machine."""
    parts = urlsplit(url if "//" in url else f"//{url}")
    if parts.scheme not in ("", "http") or not parts.hostname:
        raise ServerError(f"{url}: this is not an http:// address. Name one such as http://127.0.0.1:8000.")
    host, port = parts.hostname, parts.port or 80
    if status_of(host, port, SYSTEMS["ait"].health) != 200:
        raise ServerError(f"{url}: no service answers there, or it is not ready. Start one with: ait serve")
    pid = listening_on(port) if host in _LOOPBACK else None
    return Running(host, port, None if pid is None else ServerProcesses(pid))
