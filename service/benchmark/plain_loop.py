"""The model without a server: check, decode, resize and run images in one process, in a plain loop.

The service is measured against it. It therefore uses the service's own steps, with the batch size and the decoding
threads that are fastest for it.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from service.model_process.runtimes.choice import Wanted
from service.repository.folders import ModelFolder
from service.settings import Precision

BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)
ENOUGH = 0.98  # a smaller batch is better where it is as fast, but for this: it has less latency

_CALIBRATION_ROUNDS = 3
_WORTH = 0.85  # what is slower than this share of the fastest is not tried again


@dataclass(frozen=True)
class LoopConfig:
    """How the plain loop runs.

    Attributes:
        batch_size: images in a forward pass.
        pooled: True decodes a batch's images on as many threads as there are processors, False on the thread that
            also runs the model.
        streams: loops side by side, which share the processors.
    """

    batch_size: int
    pooled: bool = False
    streams: int = 1

    def batch_seconds(self, rate: float) -> float:
        """Return the seconds that a batch takes at a rate in images per second."""
        return self.batch_size * self.streams / rate


class Rate(NamedTuple):
    """Images per second, and seconds of processor time per image."""

    images: float
    cpu: float


class PlainLoopError(Exception):
    """Raised where the plain loop cannot run; the message says why."""


class PlainLoop:
    """A process that loads the model, and runs the plain loop on request; in between it sleeps."""

    def __init__(
        self, folder: ModelFolder, images: Sequence[bytes], device: str, wanted: Wanted | None = None
    ) -> None:
        """Start the process and load the model.

        Args:
            folder: of the model.
            images: contents of files that can be decoded.
            device: as the setting of the service.
            wanted: runtime and precision; None is torch in fp32.

        Raises:
            PlainLoopError: the model cannot be loaded.
        """
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, folder, list(images), device, wanted), daemon=True)
        self._process.start()
        theirs.close()
        self._ask("ready")

    def runtime(self) -> tuple[str, str]:
        """Return the runtime that was chosen, and the precision."""
        found: tuple[str, str] = self._ask("runtime")
        return found

    def graph(self, precision: str) -> str:
        """Return the ONNX file of the model in fp32 or in int8."""
        return str(self._ask("graph", precision))

    def labels(self, precision: str | None = None) -> list[tuple[str, float]]:
        """Return the best label of each image, and its score.

        Args:
            precision: to compute them in; None is that of the loop.
        """
        labels: list[tuple[str, float]] = self._ask("labels", precision)
        return labels

    def best_config(self, seconds: float) -> LoopConfig:
        """Find the fastest configuration; of several that are about as fast, the one with the smallest batches.

        Args:
            seconds: for which each configuration is tried, in each round.
        """
        kinds = {(False, 1), (True, 1), (False, self._ask("streams"))}
        configs = [LoopConfig(size, *kind) for size in BATCH_SIZES for kind in sorted(kinds)]
        rates: dict[LoopConfig, list[float]] = {config: [] for config in configs}
        for _ in range(_CALIBRATION_ROUNDS):  # in turns, because the machine's speed wanders
            for config, found in rates.items():
                found.append(self.rate(config, seconds).images)
            speeds = {config: median(found) for config, found in rates.items()}
            least = _WORTH * max(speeds.values())
            rates = {config: found for config, found in rates.items() if speeds[config] > least}
        enough = ENOUGH * max(speeds[config] for config in rates)
        fast = [config for config in rates if speeds[config] >= enough]
        return min(fast, key=lambda config: (config.batch_size, -speeds[config]))

    def rate(self, config: LoopConfig, seconds: float) -> Rate:
        """Run for a number of seconds; return the speed."""
        rate: Rate = self._ask("rate", config, seconds)
        return rate

    def single(self, seconds: float) -> float:
        """Run one image at a time for a number of seconds; return the median of their seconds."""
        return float(self._ask("single", seconds))

    def close(self) -> None:
        """Stop the process."""
        self._pipe.close()
        self._process.join(5)
        self._process.kill()

    def _ask(self, *question: Any) -> Any:
        try:
            self._pipe.send(question)
            answer = self._pipe.recv()
        except (EOFError, OSError):
            raise PlainLoopError("The process that runs the model without a server has ended; see above.") from None
        if isinstance(answer, Exception):
            raise PlainLoopError(str(answer))
        return answer


def _work(pipe: Connection, folder: ModelFolder, images: list[bytes], device: str, wanted: Wanted | None) -> None:
    from ait_lite.allocator import keep_freed_memory

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who asks; the pipe's end ends this one
    keep_freed_memory()  # as the service does
    try:
        loop = _Loop(folder, images, device, wanted)
    except Exception as error:  # whatever keeps a model from loading is told to the one who asked
        pipe.recv()
        pipe.send(PlainLoopError(str(error)))
        return
    answers: dict[str, Callable[..., Any]] = {
        "ready": lambda: None,
        "streams": lambda: loop.streams,
        "runtime": loop.runtime,
        "graph": loop.graph,
        "labels": loop.labels,
        "rate": loop.rate,
        "single": loop.single,
    }
    while True:
        try:
            name, *arguments = pipe.recv()
        except EOFError:
            return
        pipe.send(answers[name](*arguments))


class _Loop:
    """The plain loop itself, in its process."""

    def __init__(self, folder: ModelFolder, images: list[bytes], device: str, wanted: Wanted | None) -> None:
        from ait_lite.images.limits import ImageLimits
        from service.model_process.classifier import Classifier
        from service.processes.machine import available_processors

        self._threads = available_processors()
        self._classifier = Classifier(
            folder, device=device, max_batch=max(BATCH_SIZES), wanted=wanted, threads=self._threads
        )
        self._device = device
        self._limits = ImageLimits()
        self._images = images
        self._next = 0
        self._pool = ThreadPoolExecutor(self._threads)
        self.streams = self._classifier.streams
        self._scores(LoopConfig(max(BATCH_SIZES), True))

    def runtime(self) -> tuple[str, str]:
        return self._classifier.model.runtime, self._classifier.model.precision

    def graph(self, precision: str) -> Path:
        from ait_lite.runtimes import Answering
        from service.model_process.runtimes.graphs import Graphs

        classifier = self._classifier
        answering = Answering.of(classifier.folder.config)
        graphs = Graphs(classifier.folder, classifier.torch_model, answering=answering)
        with graphs.prepared(int8=precision == "int8") as prepared:
            found = prepared.graph(precision)
            assert found is not None, "the loop itself runs in int8 only where there is a graph"
            return found

    def labels(self, precision: Precision | None) -> list[tuple[str, float]]:
        classifier = self._classifier
        if precision not in (None, classifier.model.precision):
            from service.model_process.classifier import Classifier

            classifier = Classifier(
                classifier.folder, device=self._device, max_batch=1, wanted=Wanted("auto", precision)
            )
        inputs = map(self._prepare, self._images)
        return [classifier.label(classifier.scores([each]), 1)[0][0] for each in inputs]

    def rate(self, config: LoopConfig, seconds: float) -> Rate:
        cpu = time.process_time()
        if config.streams == 1:
            count, rate = self._repeat(config, seconds)
        else:
            with ThreadPoolExecutor(config.streams) as streams:
                ends = list(streams.map(lambda _: self._repeat(config, seconds), range(config.streams)))
            count, rate = sum(count for count, _ in ends), sum(rate for _, rate in ends)
        return Rate(rate, (time.process_time() - cpu) / count)

    def _repeat(self, config: LoopConfig, seconds: float) -> tuple[int, float]:
        """Run one stream; return its images, and its images per second."""
        self._scores(config)
        start, count = time.perf_counter(), 0
        while not count or time.perf_counter() - start < seconds:
            self._scores(config)
            count += config.batch_size
        return count + config.batch_size, count / (time.perf_counter() - start)

    def single(self, seconds: float) -> float:
        config = LoopConfig(1, False)
        times: list[float] = []
        end = time.perf_counter() + seconds
        while (start := time.perf_counter()) < end or not times:
            self._scores(config)
            times.append(time.perf_counter() - start)
        return median(times)

    def _scores(self, config: LoopConfig) -> list[Any]:
        chosen = [self._images[(self._next + offset) % len(self._images)] for offset in range(config.batch_size)]
        self._next += config.batch_size
        inputs = list(self._pool.map(self._prepare, chosen) if config.pooled else map(self._prepare, chosen))
        scores = self._classifier.scores(inputs, max(self._threads // config.streams, 1))
        return self._classifier.label(scores, 5)

    def _prepare(self, image: bytes) -> Any:
        from ait_lite.images.decode import decode

        return self._classifier.prepare(decode(image, self._limits))
