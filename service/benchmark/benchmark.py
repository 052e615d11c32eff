"""`ait bench service` as a function."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from service.benchmark.images import make_pictures, read_pictures
from service.benchmark.plain_loop import Raw
from service.benchmark.processes import ServerProcesses, listening_on
from service.benchmark.results import MemoryGrowth, ServerResult, ServiceBenchmark
from service.benchmark.run import Course, Progress, measure, soak
from service.benchmark.systems import SYSTEMS, Running, ServerError, check_installed, started, status_of
from service.machine import available_processors
from service.repository.folders import ModelError, ModelFolder, locate

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
    progress: Progress = lambda text: None,
) -> ServiceBenchmark:
    """Measures the service, and others with the same model, against the model alone.

    Args:
        model: a checkpoint folder, a bundled model, or the timm name of an architecture, which is then served
            with random weights; None is the bundled model.
        images: folder of JPEG files; None makes some, twice as large as the model's input.
        url: of a service that runs already, with that model as its default; None starts one.
        against: names in `SYSTEMS`, besides "ait".
        connections: requests in flight at saturation.
        seconds: of each load.
        rounds: how often each server is started, measured and stopped.
        soak_requests: how many requests to send for a look at the memory; 0 is none.
        device: torch device; the same for all.
        progress: told in words what is done now.

    Raises:
        ModelError, PicturesError, RawError, ServerError: as named; the message has the remedy.
    """
    systems = [SYSTEMS["ait"], *(SYSTEMS[name] for name in against)]
    for system in systems:
        check_installed(system)
    with ExitStack() as stack:
        folder = stack.enter_context(_model(model))
        reached = None if url is None else _reach(url)
        pictures = read_pictures(images) if images else make_pictures(*_twice_the_input(folder))
        progress("loading the model")
        raw = stack.enter_context(closing(Raw(folder, pictures, device)))
        course = Course(raw, pictures, connections=connections, seconds=seconds, progress=progress)
        if reached is None:
            servers = measure(course, systems, folder.path, device, rounds, progress)
            memory = None
            if soak_requests:
                with started(systems[0], folder.path, device) as running:
                    memory = soak(course, systems[0], running, soak_requests, progress)
        else:
            servers, memory = _measure_running(course, reached, rounds, soak_requests, progress)
            servers += measure(course, systems[1:], folder.path, device, rounds, progress)
    source = f"{len(pictures)} from {images}" if images else f"{len(pictures)} made ones"
    return ServiceBenchmark(folder.name, source, available_processors(), course.way, connections, servers, memory)


def _measure_running(
    course: Course, running: Running, rounds: int, soak_requests: int, progress: Progress
) -> tuple[list[ServerResult], MemoryGrowth | None]:
    system = SYSTEMS["ait"]
    found = [course.round(system, running) for _ in range(rounds)]
    memory = soak(course, system, running, soak_requests, progress) if soak_requests else None
    return [ServerResult(system.name, found)], memory


def _reach(url: str) -> Running:
    """The service at a URL; its processes, if they are on this machine."""
    parts = urlsplit(url if "//" in url else f"//{url}")
    if parts.scheme not in ("", "http") or not parts.hostname:
        raise ServerError(f"{url}: this is not an http:// address. Name one such as http://127.0.0.1:8000.")
    host, port = parts.hostname, parts.port or 80
    if status_of(host, port, SYSTEMS["ait"].health) != 200:
        raise ServerError(f"{url}: no service answers there, or it is not ready. Start one with: ait serve")
    pid = listening_on(port) if host in _LOOPBACK else None
    return Running(host, port, None if pid is None else ServerProcesses(pid))


@contextmanager
def _model(reference: str | None) -> Iterator[ModelFolder]:
    """The folder of a model; of an architecture's name, one that lasts as long as the context."""
    import timm

    import ait  # noqa: F401  registers the architectures

    try:
        folder = locate(reference)
    except ModelError:
        if reference is None or not timm.is_model(reference):
            raise
    else:
        yield folder
        return
    with tempfile.TemporaryDirectory() as parent:
        path = Path(parent) / reference
        model = timm.create_model(reference)
        timm.models.save_for_hf(model, str(path), safe_serialization=True)
        yield locate(path)


def _twice_the_input(folder: ModelFolder) -> tuple[int, int]:
    """(width, height)."""
    _, height, width = (folder.config.get("pretrained_cfg") or {}).get("input_size") or (3, 224, 224)
    return 2 * width, 2 * height
