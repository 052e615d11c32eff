"""`ait bench recall` as a function of Python: what a memory costs beside `classify`, on the same server, in turns."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final, Literal
from urllib.request import Request, urlopen

import numpy as np

from ait_lite.class_memory import ClassMemory
from service.benchmark import client
from service.benchmark.client import Load, Target
from service.benchmark.images import other_images
from service.benchmark.inputs import images_to_send, served_folder
from service.benchmark.processes import busy_seconds
from service.benchmark.results import add_up
from service.benchmark.run import WARM_SECONDS, Progress
from service.benchmark.systems import SYSTEMS, Running, ServerError, started
from service.processes.machine import available_processors
from service.settings import Precision, Runtime

_MEMORY: Final = "benchmark"
_CLASSES: Final = 10
_AT_ONCE: Final = 16  # requests for features
_SPREAD: Final = 0.5  # of examples around an image's features, in standard deviations of all images' features


@dataclass(frozen=True)
class RecallRound:
    """The figures of one round.

    Attributes:
        classify_rate, recall_rate: answers per second at saturation.
        classify_single, recall_single: median seconds with one request at a time.
        others: processors that all other programs took at saturation.
        failures: requests that were not answered with status 200, by cause.
    """

    classify_rate: float
    recall_rate: float
    classify_single: float
    recall_single: float
    others: float
    failures: dict[str, int]


@dataclass(frozen=True)
class RecallBenchmark:
    """What asking a memory costs.

    Attributes:
        model: its name.
        examples: that the memory holds.
        images: that these are of; where they are fewer, the others are disturbed copies.
        width: numbers in a feature vector.
        processors: how many of the machine's may be used.
        connections: requests in flight at saturation.
        rounds: the figures of each.
    """

    model: str
    examples: int
    images: int
    width: int
    processors: int
    connections: int
    rounds: list[RecallRound]

    @property
    def throughput(self) -> float:
        """The memory's rate at saturation over that of `classify`; the median of the rounds."""
        return median(each.recall_rate / each.classify_rate for each in self.rounds)

    @property
    def added(self) -> float:
        """Seconds that a lone question takes longer than a lone `classify`; the median of the rounds."""
        return median(each.recall_single - each.classify_single for each in self.rounds)

    def medians(self, kind: Literal["classify", "recall"]) -> tuple[float, float]:
        """Return answers per second at saturation, and seconds with one request at a time."""
        rates = [each.classify_rate if kind == "classify" else each.recall_rate for each in self.rounds]
        singles = [each.classify_single if kind == "classify" else each.recall_single for each in self.rounds]
        return median(rates), median(singles)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as values that JSON can hold."""
        return {**asdict(self), "throughput": self.throughput, "added": self.added}


def benchmark_recall(
    model: str | None = None,
    *,
    images: Path | None = None,
    examples: int = 20_000,
    connections: int = 64,
    seconds: float = 4.0,
    rounds: int = 5,
    device: str = "auto",
    runtime: Runtime = "auto",
    precision: Precision = "fp32",
    progress: Progress = lambda text: None,
) -> RecallBenchmark:
    """Measure how fast a server answers from a memory beside how fast it classifies.

    Args:
        model: a checkpoint folder, a bundled model, or the timm name of an architecture; None is the project's own.
        images: folder of JPEG files; None makes some, twice as large as the model's input.
        examples: that the memory holds: features of images that are not asked about. Where the folder has too few, the
            others are copies, each somewhat disturbed; without any, all are of the images that are asked about.
        connections: requests in flight at saturation.
        seconds: of each load.
        rounds: how often the two take turns.
        device: torch device.
        runtime: what the model runs in.
        precision: what it computes in.
        progress: called with a few words about each step.

    Raises:
        ModelError: the model cannot be used; the message of this and of the others names the remedy.
        ImagesError: the folder has no image that can be used.
        ServerError: the server does not start, or does not answer.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(served_folder(model))
        files = images_to_send(images, folder)
        store = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "memories.sqlite"
        environment = {"AIT_RUNTIME": runtime, "AIT_PRECISION": precision, "AIT_MEMORIES": str(store)}
        environment |= {"AIT_MAX_MEMORY_EXAMPLES": str(examples), "AIT_MAX_TEACH_BYTES": str(1 << 32)}
        progress("starting the server")
        running = stack.enter_context(started(SYSTEMS["ait"], folder.path, device, environment))
        progress(f"teaching {examples:,} examples")
        others = other_images(images, examples) if images else []
        progress(f"asking for the features of {len(others) or len(files):,} images")
        features = _features_of(running, others or files[:examples])
        _fill(running, files[0], features, examples, undisturbed=len(others))
        found = [_round(running, files, connections, seconds, progress) for _ in range(rounds)]
    count, width = features.shape
    return RecallBenchmark(folder.name, examples, count, width, available_processors(), connections, found)


def _round(
    running: Running, files: Sequence[bytes], connections: int, seconds: float, progress: Progress
) -> RecallRound:
    def target(path: str) -> Target:
        requests = [client.make_request(path, image, running.host) for image in files]
        return Target(running.host, running.port, requests)

    def saturate(asked: Target, seconds: float) -> Load:
        seen: list[float] = []
        load = client.run(
            client.closed_loop(
                asked, connections, seconds=seconds, lead=WARM_SECONDS, observe=lambda: seen.append(not_the_server())
            )
        )
        others.append((seen[-1] - seen[0] - load.cpu) / seconds)
        return load

    def not_the_server() -> float:
        """Return the seconds of processor time that all but the server have taken."""
        return busy_seconds() - (running.processes.cpu() if running.processes else 0.0)

    others: list[float] = []
    classify, recall = target("/v1/classify"), target(f"/v1/memories/{_MEMORY}/recall")
    progress("saturation, in turns")
    full = [saturate(classify, seconds / 2), saturate(recall, seconds), saturate(classify, seconds / 2)]
    progress("one request at a time, in turns")
    lone = [
        client.run(client.closed_loop(each, 1, seconds=seconds / 2)) for each in (classify, recall, recall, classify)
    ]
    for load, path in zip((full[0], full[1], *lone[:2]), (classify, recall, classify, recall), strict=True):
        if not len(load.latencies):
            raise ServerError(f"{path.requests[0].split()[1].decode()} answered no request: {load.failures}")
    return RecallRound(
        classify_rate=(full[0].rate + full[2].rate) / 2,
        recall_rate=full[1].rate,
        classify_single=(lone[0].percentile(50) + lone[3].percentile(50)) / 2,
        recall_single=(lone[1].percentile(50) + lone[2].percentile(50)) / 2,
        others=max(median(others), 0.0),
        failures=add_up(load.failures for load in (*full, *lone)),
    )


def _features_of(running: Running, images: Sequence[bytes | Path]) -> np.ndarray:
    """Ask for the features of images, many at once; shape (n, d).

    Raises:
        ServerError: the server does not answer, or refuses an image.
    """

    def ask(image: bytes | Path) -> list[float]:
        data = image if isinstance(image, bytes) else image.read_bytes()
        try:
            answer = _ask(running, "POST", "/v1/embed", data, "image/jpeg")
        except ServerError as error:
            raise ServerError(f"{image}: {error}" if isinstance(image, Path) else str(error)) from error
        features: list[float] = answer["embeddings"][0]["features"]
        return features

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return np.array(list(pool.map(ask, images)))


def _fill(running: Running, image: bytes, features: np.ndarray, examples: int, undisturbed: int) -> None:
    """Make a memory of features (n, d), all but the first disturbed, again and again, and ask it about an image.

    Raises:
        ServerError: the server does not take it, or does not answer from it.
    """
    random = np.random.default_rng(0)
    chosen = np.arange(examples) % len(features)
    vectors = features[chosen]
    copies = vectors[undisturbed:]
    copies += _SPREAD * features.std(axis=0) * random.standard_normal(copies.shape)
    memory = ClassMemory(features.shape[1])
    memory.write([str(index) for index in range(examples)], vectors, [f"class {each % _CLASSES}" for each in chosen])
    _ask(running, "PUT", f"/v1/memories/{_MEMORY}/file?keep=nothing", memory.to_bytes(), "application/octet-stream")
    answer = _ask(running, "POST", f"/v1/memories/{_MEMORY}/recall", image, "image/jpeg")
    if not answer["predictions"][0]["evidence"]:
        raise ServerError(f"The memory answered without examples: {answer}")


def _ask(running: Running, method: str, path: str, body: bytes, kind: str) -> dict[str, Any]:
    request = Request(f"http://{running.host}:{running.port}{path}", body, {"Content-Type": kind}, method=method)
    try:
        with urlopen(request, timeout=120) as response:
            document: dict[str, Any] = json.load(response)
    except OSError as error:
        reason = error.read().decode(errors="replace") if hasattr(error, "read") else error
        raise ServerError(f"{path}: {reason}") from error
    return document
